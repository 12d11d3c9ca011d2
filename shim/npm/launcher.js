#!/usr/bin/env node
// Runs the shim that this package carries, with the Python it finds. Nothing is downloaded or compiled.
"use strict";

const { spawn } = require("node:child_process");
const path = require("node:path");
const { findPython } = require("./find_python.js");

// Neither the person's packages nor their PYTHON* variables: the shim needs only the standard library.
const OPTIONS = ["-I", "-S", path.join(__dirname, "python")];

function main() {
  const found = findPython(process.env);
  if (found === null) {
    console.error("mogplex-mcp-shim: this needs Python 3.11 or newer, and found none: install it from https://www.python.org/downloads/");
    process.exit(1);
  }
  const [command, ...before] = found;
  const args = [...before, ...OPTIONS, ...process.argv.slice(2)];
  if (before.length === 0 && typeof process.execve === "function" && process.platform !== "win32") {
    process.removeAllListeners("warning"); // that execve is new is no concern of the person's
    try {
      process.execve(command, [command, ...args], process.env); // Node's memory goes with Node
    } catch {
      // An old system: a child does as well.
    }
  }
  const child = spawn(command, args, { stdio: "inherit" });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
    process.on(signal, () => child.kill(signal));
  }
  child.on("error", (error) => {
    console.error(`mogplex-mcp-shim: ${command} could not be run: ${error.code}`);
    process.exit(1);
  });
  child.on("exit", (code, signal) => process.exit(signal === null ? code : 1));
}

main();
