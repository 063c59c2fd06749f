/** `anello fsck` on a copy of the golden device: whole, damaged, mended. */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createNodeEnv, type NodeEnv } from '#env/node/node-env.ts';
import { type FsckReport, fsck } from './fsck.ts';

const GOLDEN = path.resolve(import.meta.dirname, '../../test/golden/device/v1');
let folder: string;
let env: NodeEnv;

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'anello-fsck-'));
  cpSync(path.join(GOLDEN, 'device'), folder, { recursive: true });
  env = createNodeEnv({ logLevel: 'silent' });
});

afterEach(async () => {
  await env.close();
  rmSync(folder, { recursive: true, force: true });
});

function check(repair = false, shares: number[] = []): Promise<FsckReport> {
  return fsck(env, folder, { repair, progress: (_what, share) => shares.push(share) });
}

function flipBlob(): void {
  const blobs = path.join(folder, 'blobs/78');
  const file = path.join(blobs, readdirSync(blobs)[0]!);
  const bytes = readFileSync(file);
  bytes[66_000]! ^= 1;
  writeFileSync(file, bytes);
}

describe('anello fsck', () => {
  it('finds nothing wrong with a good device, and tells how far it is', async () => {
    const shares: number[] = [];
    expect(await check(false, shares)).toMatchObject({ device: 7, name: 'd7', problems: [] });
    expect(shares.at(-1)).toBe(1);
    const { repair } = await check(true);
    expect(repair).toMatchObject({ quarantined: 0, left: [] });
  });

  it('names damage, changes nothing until it is asked to, then leaves none', async () => {
    cpSync(path.join(GOLDEN, '00000002-flipped-body.seg'), path.join(folder, 'log/00000002.seg'));
    flipBlob();
    const found = await check();
    expect(found.problems.map(({ what }) => what)).toEqual([
      'the body is damaged',
      'block 1 is damaged',
    ]);
    expect(await check()).toEqual(found);
    const { repair } = await check(true);
    expect(repair?.left).toEqual([]);
    expect(repair?.quarantined).toBe(2);
    expect(await check()).toMatchObject({ problems: [], known: 2 });
  });

  it('makes a broken index anew', async () => {
    await check(true);
    const index = path.join(folder, 'index.db');
    // All of it in the file itself: pages that are in the WAL would hide the damage.
    const database = env.disk.openDatabase(index);
    database.pragma('wal_checkpoint(TRUNCATE)');
    database.close();
    const bytes = readFileSync(index);
    bytes.fill(0xff, 4096);
    writeFileSync(index, bytes);
    expect((await check()).problems.map(({ where }) => where)).toEqual(['index.db']);
    const { repair } = await check(true);
    expect(repair).toMatchObject({ rebuiltIndex: true, left: [] });
  });
});
