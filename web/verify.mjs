// Fails when the committed dist/ is not what the sources build.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const root = import.meta.dirname;
const fresh = mkdtempSync(join(tmpdir(), 'hubbub-web-'));
try {
  execFileSync(process.execPath, [join(root, 'build.mjs'), fresh], { stdio: 'inherit' });
  const names = [...new Set([...readdirSync(fresh), ...readdirSync(join(root, 'dist'))])];
  const differ = names.filter((name) => !same(join(fresh, name), join(root, 'dist', name)));
  if (differ.length) {
    console.error(`web/dist is not up to date: ${differ.join(', ')}. Run "npm run build" in web/ and commit the result.`);
    process.exitCode = 1;
  } else {
    console.log(`web/dist is up to date: ${names.join(', ')}`);
  }
} finally {
  rmSync(fresh, { recursive: true, force: true });
}

function same(a, b) {
  try {
    return readFileSync(a).equals(readFileSync(b));
  } catch {
    return false;
  }
}
