// Builds assets/app.css from src/app.css and copies htmx with its licence beside it. The result is
// committed; a check builds again and compares, so nothing in it may depend on time or place.
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import path from "node:path";

const here = path.dirname(fileURLToPath(import.meta.url));
const at = (...parts) => path.join(here, ...parts);

execFileSync(
  process.execPath,
  [at("node_modules/@tailwindcss/cli/dist/index.mjs"), "-i", at("src/app.css"), "-o", at("assets/app.css"), "--minify"],
  { cwd: here, stdio: ["ignore", "ignore", "inherit"] },
);

// The source map is not shipped, so neither is the reference to it.
const htmx = readFileSync(at("node_modules/htmx.org/dist/htmx.min.js"), "utf8");
writeFileSync(at("assets/htmx.min.js"), htmx.replace(/\n?\/\/# sourceMappingURL=.*\s*$/, "\n"));
copyFileSync(at("node_modules/htmx.org/LICENSE"), at("assets/htmx.LICENSE.txt"));

// What the style sheet and the script are made of asks for its licence to be passed on with them:
// a release puts these into its THIRD_PARTY_NOTICES.txt.
mkdirSync(at("licences"), { recursive: true });
for (const name of ["daisyui", "htmx.org", "tailwindcss"]) {
  copyFileSync(at("node_modules", name, "LICENSE"), at("licences", `${name}.txt`));
}
