// Payloads in base64, one a line on standard input, as JSON on standard output. Argument: the folder with node_modules.
const { createRequire } = require("module");
const readline = require("readline");

const sparkplug = createRequire(process.argv[2] + "/")("sparkplug-payload").get("spBv1.0");
// Long of protobufjs: a number beyond 2^53 must not be rounded on the way into JSON.
const plain = (key, value) => (value && typeof value === "object" && "low" in value ? value.toString() : value);

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  console.log(JSON.stringify(sparkplug.decodePayload(Buffer.from(line, "base64")), plain));
});
