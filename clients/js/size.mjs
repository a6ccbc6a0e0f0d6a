// Fails when a minified part of the package is over its budget.
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

/** Bytes, gzipped. The hooks are counted without React and without the core. */
const LIMITS = { core: ['index', 6 * 1024, []], react: ['react/index', 5 * 1024, ['react', '../index.js']] };

for (const [name, [entry, limit, external]] of Object.entries(LIMITS)) {
  const result = await build({
    entryPoints: [`${import.meta.dirname}/src/${entry}.ts`],
    absWorkingDir: import.meta.dirname,
    bundle: true,
    minify: true,
    write: false,
    external,
    format: 'esm',
    target: 'es2022',
  });
  const size = gzipSync(result.outputFiles[0].contents, { level: 9 }).length;
  console.log(`${name}: ${size} bytes gzipped, limit ${limit}`);
  if (size > limit) process.exitCode = 1;
}
