// Fails when the minified core is over its budget of 6 KB gzipped.
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const LIMIT = 6 * 1024;
const result = await build({
  entryPoints: [`${import.meta.dirname}/src/index.ts`],
  absWorkingDir: import.meta.dirname,
  bundle: true,
  minify: true,
  write: false,
  format: 'esm',
  target: 'es2022',
});
const size = gzipSync(result.outputFiles[0].contents, { level: 9 }).length;
console.log(`core: ${size} bytes gzipped, limit ${LIMIT}`);
if (size > LIMIT) process.exit(1);
