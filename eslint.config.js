import nx from "@nx/eslint-plugin";
import * as jsonc from "jsonc-eslint-parser";
import { defineConfig } from "eslint/config";
import tseslint from "typescript-eslint";
import { layers } from "./layers.js";

/** A package may import from the layers before it, and from the fixtures in its tests. */
const boundaries = {
  allowCircularSelfDependency: true, // tests import their package by its public name
  depConstraints: layers.map((layer, i) => ({
    sourceTag: `layer:${layer}`,
    onlyDependOnLibsWithTags: [...layers.slice(0, i), "fixtures"].map((name) => `layer:${name}`),
  })),
};

export default defineConfig(
  { ignores: ["**/dist/**", "**/coverage/**", "**/.cache/**", "demo-out/**", "test-fixtures/goldens/**"] },
  {
    files: ["**/*.ts"],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true }],
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true, allowBoolean: true }],
      // `array[i]!` in bounded numeric loops says what the loop bound already proves.
      "@typescript-eslint/no-non-null-assertion": "off",
      // A type named once at the call, as in `golden<Case>(file)`, reads better than a cast.
      "@typescript-eslint/no-unnecessary-type-parameters": "off",
      // A rest sibling leaves a field out; a leading underscore keeps a place in a signature.
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_", ignoreRestSiblings: true }],
    },
  },
  {
    files: ["packages/*/{src,test}/**/*.ts"],
    plugins: { "@nx": nx },
    rules: { "@nx/enforce-module-boundaries": ["error", boundaries] },
  },
  {
    files: ["packages/*/package.json"],
    plugins: { "@nx": nx },
    languageOptions: { parser: jsonc },
    rules: {
      // ffmpeg-static is optional: it is asked for by name at run time. hono is a peer of @hono/node-server.
      "@nx/dependency-checks": ["error", { ignoredFiles: ["{projectRoot}/test/**", "{projectRoot}/*.config.ts"], ignoredDependencies: ["ffmpeg-static", "hono"] }],
    },
  },
);
