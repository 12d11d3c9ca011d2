// Finds Python 3.11 or newer. Hosts with a window start programs with a bare PATH, so the usual places are looked at too.
"use strict";

const { execFileSync } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");

const OLDEST = 11;
const NEWEST = 14;
const MINORS = Array.from({ length: NEWEST - OLDEST + 1 }, (_, index) => NEWEST - index);
const NAMES = ["python3", ...MINORS.map((minor) => `python3.${minor}`)];
const TIMEOUT = 5000; // milliseconds for a program to say its version

/** The command and its first arguments; null when there is none. */
function findPython(environ) {
  const home = environ.HOME || os.homedir();
  if (process.platform === "win32") {
    return firstThat(isNewEnough, [["py", "-3"], ["python3"], ["python"], ...fromUv(environ, home)]);
  }
  const folders = (environ.PATH || "").split(path.delimiter).filter(path.isAbsolute);
  const usual = ["/opt/homebrew/bin", "/usr/local/bin", "/home/linuxbrew/.linuxbrew/bin", "/usr/bin", path.join(home, ".local/bin")];
  const installed = [
    ...MINORS.map((minor) => `/Library/Frameworks/Python.framework/Versions/3.${minor}/bin`),
    ...children(path.join(home, ".pyenv/versions")).map((version) => path.join(version, "bin")),
  ];
  const places = [...new Set([...folders, ...usual, ...installed])];
  const candidates = places.flatMap((folder) => NAMES.map((name) => path.join(folder, name))).filter(isProgram);
  return firstThat(isNewEnough, candidates.map((file) => [file])) || firstThat(isNewEnough, fromUv(environ, home));
}

function firstThat(test, commands) {
  return commands.find((command) => test(command)) || null;
}

function isProgram(file) {
  // Apple's own is too old, and without the developer tools it opens a window.
  if (process.platform === "darwin" && file === "/usr/bin/python3") {
    return false;
  }
  try {
    fs.accessSync(file, fs.constants.X_OK);
    return fs.statSync(file).isFile();
  } catch {
    return false;
  }
}

/** Whether a command is Python 3.11 or newer: its file's name tells, most often; else it is asked. */
function isNewEnough([file, ...before]) {
  if (path.isAbsolute(file)) {
    const named = /^python3\.(\d+)$/.exec(path.basename(fs.realpathSync(file)));
    if (named !== null && Number(named[1]) < OLDEST) {
      return false;
    }
    if (named !== null && !isScript(file)) {
      return true;
    }
  }
  const question = "import sys; print(sys.version_info >= (3, 11))";
  return asked(file, [...before, "-I", "-S", "-c", question]) === "True";
}

/** Whether a file starts another program, as pyenv's do: what its name says may not be installed. */
function isScript(file) {
  const handle = fs.openSync(file, "r");
  try {
    const start = Buffer.alloc(2);
    fs.readSync(handle, start, 0, 2, 0);
    return start.toString() === "#!";
  } finally {
    fs.closeSync(handle);
  }
}

function fromUv(environ, home) {
  const folders = ["", path.join(home, ".local/bin"), path.join(home, ".cargo/bin"), "/opt/homebrew/bin", "/usr/local/bin"];
  for (const folder of folders) {
    const found = asked(path.join(folder, "uv"), ["python", "find", "--offline", `>=3.${OLDEST}`], environ);
    if (found) {
      return [[found]];
    }
  }
  return [];
}

/** What a program prints; an empty text when it cannot. */
function asked(file, args, environ = process.env) {
  try {
    const options = { encoding: "utf8", env: environ, stdio: ["ignore", "pipe", "ignore"], timeout: TIMEOUT };
    return execFileSync(file, args, options).trim();
  } catch {
    return "";
  }
}

function children(folder) {
  try {
    return fs.readdirSync(folder).sort().reverse().map((name) => path.join(folder, name));
  } catch {
    return [];
  }
}

module.exports = { findPython };
