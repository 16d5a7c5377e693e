import { csvCells } from "@dramascope/schema";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

describe("csvCells", () => {
  it.each([
    ["plain", "a,b,,d", ["a", "b", "", "d"]],
    ["one empty cell", "", [""]],
    ["quotes", '"a,b","c ""d""",e', ["a,b", 'c "d"', "e"]],
    ["empty quoted cells", '"",""', ["", ""]],
    ["a quoted cell last but for a comma", '"a",', ["a", ""]],
    ["a line break inside quotes", '"a\nb",c', ["a\nb", "c"]],
    ["a quote inside a plain cell is itself", 'a"b,c', ['a"b', "c"]],
    ["a quote that stays open", '"a,b', "open"],
    ["a doubled quote at the end stays open", '"a""', "open"],
    ["text after a quoted cell", '"a"b,c', null],
  ])("%s", (_, record, cells) => expect(csvCells(record)).toEqual(cells));

  it("reads back what was quoted", () => {
    fc.assert(fc.property(fc.array(fc.string(), { minLength: 1 }), (cells) => {
      const record = cells.map((cell) => `"${cell.replaceAll('"', '""')}"`).join(",");
      expect(csvCells(record)).toEqual(cells);
    }));
  });
});
