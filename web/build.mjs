// Builds dist/, which is committed: the same sources give the same bytes on every machine.
import { copyFileSync, mkdirSync, rmSync } from 'node:fs';
import { build } from 'esbuild';

const root = import.meta.dirname;
const out = process.argv[2] ?? `${root}/dist`;
rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
for (const page of ['index', 'ops']) copyFileSync(`${root}/src/${page}.html`, `${out}/${page}.html`);
await build({
  absWorkingDir: root,
  entryPoints: { chat: 'src/chat/main.tsx', ops: 'src/ops/main.tsx' },
  outdir: out,
  bundle: true,
  minify: true,
  format: 'esm',
  target: ['es2022'],
  charset: 'utf8',
  legalComments: 'none',
  jsx: 'automatic',
  jsxImportSource: 'preact',
  alias: {
    '@hubbub/client/react': '../clients/js/src/react/index.ts',
    '@hubbub/client': '../clients/js/src/index.ts',
    react: 'preact/compat',
  },
  tsconfig: 'tsconfig.json',
});
await build({
  absWorkingDir: root,
  entryPoints: { chat: 'src/chat.css', ops: 'src/ops.css' },
  outdir: out,
  bundle: true,
  minify: true,
  target: ['chrome111', 'firefox113', 'safari16.2'],
  charset: 'utf8',
});
