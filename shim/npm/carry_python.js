// Puts the Python package, its licence and its README into the npm package; run by `npm pack` and `npm publish`.
"use strict";

const fs = require("node:fs");
const path = require("node:path");

const source = path.join(__dirname, "..");
const carried = path.join(__dirname, "python");

fs.rmSync(carried, { recursive: true, force: true });
fs.cpSync(path.join(source, "mogplex_mcp_shim"), path.join(carried, "mogplex_mcp_shim"), {
  recursive: true,
  filter: (file) => path.basename(file) !== "__pycache__",
});
fs.writeFileSync(path.join(carried, "__main__.py"), "import sys\n\nfrom mogplex_mcp_shim.cli import main\n\nsys.exit(main())\n");
for (const name of ["LICENSE", "README.md"]) {
  fs.copyFileSync(path.join(source, name), path.join(__dirname, name));
}

const python = fs.readFileSync(path.join(source, "mogplex_mcp_shim", "__init__.py"), "utf8");
const { version } = JSON.parse(fs.readFileSync(path.join(__dirname, "package.json"), "utf8"));
if (!python.includes(`__version__ = "${version}"`)) {
  throw new Error(`package.json says ${version}, the Python package something else`);
}
