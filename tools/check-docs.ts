/**
 * Every export of every package is documented, and its signature is the one in the committed API report (packages/x/api.txt).
 * Reads the built declarations: run `tsc -b` first. `--update` writes the reports.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import ts from "typescript";
import { readPackages } from "./workspace.ts";

/** Documented surface of one package. */
export interface ApiSurface {
  /** Signatures of all exports, sorted by name. */
  report: string;
  /** Exports and members without a doc comment. */
  undocumented: string[];
}

const hasDoc = (node: ts.Node): boolean => ts.getJSDocCommentsAndTags(node).some((part) => ts.isJSDoc(part) && part.comment !== undefined);

/** A variable's comment stands on its statement. */
const documentedNode = (node: ts.Declaration): ts.Node => (ts.isVariableDeclaration(node) ? node.parent.parent : node);

/** The compiler lists the members of an enum as it met them, which differs between fresh and repeated builds: sorted, they are the same. */
const sortedEnums = (text: string): string => text.replace(/ZodEnum<\{([^{}]*)\}>/gu, (_, members: string) => `ZodEnum<{ ${members.split(";").map((member) => member.trim()).filter((member) => member !== "").sort().join("; ")} }>`);

/** A declaration without its comments, white space folded. */
function signature(node: ts.Node): string {
  const printer = ts.createPrinter({ removeComments: true });
  return sortedEnums(printer.printNode(ts.EmitHint.Unspecified, node, node.getSourceFile()))
    .replace(/^export (declare )?/u, "")
    .replace(/^declare /u, "")
    .trim();
}

/** Reads the exports of a declaration file. */
export function readApi(entry: string): ApiSurface {
  const program = ts.createProgram([entry], { module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext, skipLibCheck: true, types: ["node"] });
  const checker = program.getTypeChecker();
  const source = program.getSourceFile(entry);
  const module = source && checker.getSymbolAtLocation(source);
  if (!module) return { report: "", undocumented: [] };
  const undocumented: string[] = [];
  const lines: string[] = [];
  for (const exported of checker.getExportsOfModule(module).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported;
    const declarations = symbol.declarations ?? [];
    if (!declarations.some((node) => hasDoc(documentedNode(node)))) undocumented.push(exported.name);
    for (const node of declarations) lines.push(signature(documentedNode(node)));
  }
  return { report: `${lines.join("\n\n")}\n`, undocumented };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const update = process.argv.includes("--update");
  let problems = 0;
  let exports = 0;
  for (const { name, folder } of readPackages()) {
    const entry = join(folder, "dist", "index.d.ts");
    if (!existsSync(entry)) throw new Error(`packages/${name} is not built: run tsc -b first`);
    const { report, undocumented } = readApi(entry);
    exports += report.split("\n\n").length;
    for (const one of undocumented) process.stderr.write(`packages/${name}: the export ${one} has no doc comment\n`);
    problems += undocumented.length;
    const file = join(folder, "api.txt");
    if (update) writeFileSync(file, report);
    else if (!existsSync(file) || readFileSync(file, "utf8") !== report) {
      process.stderr.write(`packages/${name}/api.txt differs from the built API: look at the change, then run npm run api\n`);
      problems++;
    }
  }
  process.stderr.write(problems === 0 ? `docs: ${exports} exports documented, reports current\n` : `docs: ${problems} problems\n`);
  process.exitCode = problems === 0 ? 0 : 1;
}
