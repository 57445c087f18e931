// node-semver, the copy that npm brings. Argument: its folder.
const path = process.argv[2];
const semver = require(path);

// Loose mode reads 1.2.34.5 as 1.2.3-4.5, 1.2.30- as 1.2.3-0- and 1.2.3- as 1.2.3--, which is none of its
// answers here.
function parse(text) {
  const version = semver.parse(text, { loose: true });
  const accident = /^\s*[v=\s]*\d+\.\d+\.\d+(\.|-([.+]|\s*$))/.test(text);
  return accident ? null : version;
}

console.log("node-semver " + require(path + "/package.json").version);
let first = null;
require("readline").createInterface({ input: process.stdin }).on("line", (line) => {
  if (first === null) {
    first = line;
    return;
  }
  const a = parse(first), b = parse(line);
  first = null;
  console.log(a && b ? "<=>"[semver.compare(a, b) + 1] : "?");
});
