/** The `anello` command under a Node that is too old: another is run in its place, or it says so. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';

/** Makes this Node say that it is an old one. */
const OLD =
  'data:text/javascript,Object.defineProperty(process,"versions",{value:{...process.versions,node:"20.1.0"}})';

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'anello-old-node-'));
  mkdirSync(path.join(folder, 'tools'));
  copyFileSync(path.join(import.meta.dirname, 'anello.js'), path.join(folder, 'tools/anello.js'));
  writeFileSync(path.join(folder, 'package.json'), '{"type":"module"}');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function anello(...args: string[]) {
  const file = path.join(folder, 'tools/anello.js');
  return spawnSync(process.execPath, ['--import', OLD, file, ...args], { encoding: 'utf8' });
}

it('an old Node runs the pinned one with the same arguments, and ends as it does', () => {
  const without = anello('status');
  expect(without.status).toBe(1);
  expect(without.stderr).toMatch(/^anello: Node 24 or newer is needed, .*npm ci.*\n$/);

  const bin = path.join(folder, 'node_modules/node/bin');
  mkdirSync(bin, { recursive: true });
  writeFileSync(path.join(bin, 'node'), '#!/bin/sh\necho "$@"\nexit 7\n', { mode: 0o755 });
  const pinned = anello('status', '--data', 'a b');
  expect(pinned.status).toBe(7);
  expect(pinned.stdout).toBe(`${path.join(folder, 'tools/anello.js')} status --data a b\n`);
});
