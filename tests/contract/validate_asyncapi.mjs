// Validates an AsyncAPI document with the project's own parser: node validate_asyncapi.mjs DOCUMENT DIRECTORY_OF_NODE_MODULES
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const [document_path, installed] = process.argv.slice(2);
const { Parser } = createRequire(`${installed}/`)("@asyncapi/parser");
const { document, diagnostics } = await new Parser().parse(readFileSync(document_path, "utf8"));
const operations = document === undefined ? [] : document.operations().all();
console.log(
  JSON.stringify({
    valid: document !== undefined,
    // severity 0 is an error, 1 a warning; 2 and 3 are remarks, such as that a newer version of the format exists
    problems: diagnostics.filter((diagnostic) => diagnostic.severity < 2),
    operations: operations.length,
    withReply: operations.filter((operation) => operation.reply() !== undefined).length,
  }),
);
