/** Rules of the console's modules beyond types: what becomes markup or code, and what is easily overlooked. */

import js from "@eslint/js";
import globals from "globals";

/** Ways of making markup, code or styles of text. The policy of the page forbids most of them, too. */
const MARKUP = ["innerHTML", "outerHTML", "insertAdjacentHTML", "createContextualFragment", "srcdoc", "cssText", "setHTMLUnsafe", "parseHTMLUnsafe"];

export default [
  js.configs.recommended,
  {
    files: ["**/*.js"],
    languageOptions: { ecmaVersion: 2025, sourceType: "module", globals: globals.browser },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "eqeqeq": ["error", "always", { null: "ignore" }],
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-new-func": "error",
      "no-script-url": "error",
      "no-var": "error",
      "prefer-const": ["error", { destructuring: "all" }],
      "no-shadow": ["error", { builtinGlobals: false, hoist: "functions" }],
      "no-unused-vars": ["error", { argsIgnorePattern: "^_", destructuredArrayIgnorePattern: "^_", varsIgnorePattern: "^_" }],
      "no-console": "error",
      "no-alert": "error",
      "no-self-compare": "error",
      "no-promise-executor-return": "off",
      "require-atomic-updates": "off",
      "max-lines": ["error", 250],
      "no-restricted-properties": ["error", ...MARKUP.map((property) => ({ property, message: "Text stays text: use h() of dom.js." })), { object: "document", property: "write" }, { object: "document", property: "cookie", message: "The console has no cookie." }],
      "no-restricted-globals": ["error", { name: "EventSource", message: "It sends no key: use events.js." }, { name: "confirm", message: "Use undo.js." }],
      "no-restricted-syntax": ["error",
        { selector: "CallExpression[callee.property.name='setAttribute'][arguments.0.value='style']", message: "Use element.style." },
        { selector: "CallExpression[callee.property.name='setAttribute'][arguments.0.value=/^on/]", message: "Use addEventListener." },
        { selector: "ImportExpression[source.type!='Literal']", message: "Modules are named as they are." },
        { selector: "Literal[value=/^https?:\\/\\/(?!127\\.0\\.0\\.1|localhost|www\\.w3\\.org\\/)/]", message: "Nothing comes from elsewhere." }],
    },
  },
];
