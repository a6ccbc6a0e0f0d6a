import { build } from 'esbuild';

/** Loads a TypeScript source of the page as a module. */
export async function load(path) {
  const root = `${import.meta.dirname}/..`;
  const result = await build({
    absWorkingDir: root,
    entryPoints: [`src/${path}`],
    bundle: true,
    write: false,
    format: 'esm',
    target: 'es2022',
    jsx: 'automatic',
    jsxImportSource: 'preact',
    alias: { '@hubbub/client': '../clients/js/src/index.ts', react: 'preact/compat' },
  });
  return import(`data:text/javascript;base64,${Buffer.from(result.outputFiles[0].contents).toString('base64')}`);
}
