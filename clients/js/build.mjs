// Builds dist/: ES modules for the client and for its React hooks, and their types.
import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { rmSync } from 'node:fs';
import { build } from 'esbuild';

const root = import.meta.dirname;
const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
rmSync(`${root}/dist`, { recursive: true, force: true });
execFileSync(process.execPath, [tsc, '-p', `${root}/tsconfig.json`, '--emitDeclarationOnly'], { stdio: 'inherit' });
for (const [entry, external] of [['index', []], ['react/index', ['react', '../index.js']]]) {
  await build({
    entryPoints: [`${root}/src/${entry}.ts`],
    outfile: `${root}/dist/${entry}.js`,
    absWorkingDir: root,
    bundle: true,
    // The hooks use the client's module, not a copy of it: errors are told apart by their class.
    external,
    format: 'esm',
    target: 'es2022',
    legalComments: 'none',
  });
}
