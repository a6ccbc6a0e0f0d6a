// Packs the package and looks into it: nothing but what users need, and it can be imported.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const root = import.meta.dirname;
const work = mkdtempSync(join(tmpdir(), 'hubbub-pack-'));
try {
  const told = execFileSync('npm', ['pack', '--json', '--pack-destination', work], { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  // What the build prints stands before the list.
  const packed = JSON.parse(told.slice(told.search(/^[[{]/m)));
  const [{ filename, files, unpackedSize }] = Array.isArray(packed) ? packed : Object.values(packed);
  const names = files.map(({ path }) => path);
  const strange = names.filter((name) => !/^(package\.json|README\.md|LICENSE-(MIT|APACHE)|dist\/(react\/)?[a-z-]+\.d\.ts|dist\/(react\/)?index\.js)$/.test(name));
  assert.deepEqual(strange, [], 'only what is needed');
  for (const name of ['dist/index.js', 'dist/index.d.ts', 'dist/react/index.js', 'dist/react/index.d.ts', 'README.md', 'LICENSE-MIT']) {
    assert.ok(names.includes(name), name);
  }

  execFileSync('tar', ['xzf', join(work, filename), '-C', work]);
  mkdirSync(join(work, 'node_modules/@hubbub'), { recursive: true });
  renameSync(join(work, 'package'), join(work, 'node_modules/@hubbub/client'));
  const user = join(work, 'user.mjs');
  const run = () => execFileSync(process.execPath, [user], { encoding: 'utf8' }).trim();
  writeFileSync(user, "import { HubbubClient } from '@hubbub/client'; console.log(new HubbubClient({ url: 'http://x' }).state.status);");
  assert.equal(run(), 'closed', 'the core needs no React');
  symlinkSync(join(root, 'node_modules/react'), join(work, 'node_modules/react'));
  writeFileSync(user, "import * as hooks from '@hubbub/client/react'; console.log(Object.keys(hooks).sort().join(' '));");
  assert.equal(run(), 'HubbubProvider useConnection useDirect useDirects useHubbub useHubbubEvent usePresence useReceipt useRoom useRoomState useUnread');
  console.log(`pack: ${names.length} files, ${unpackedSize} bytes`);
} finally {
  rmSync(work, { recursive: true, force: true });
}
