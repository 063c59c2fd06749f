/** `anello device` on a real disk: the golden folder, whole and damaged. */
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Command } from 'commander';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { codeOf } from '#base/errors.ts';
import { register } from '../commands/device.ts';
import { processesUsing } from './in-use.ts';

const GOLDEN = path.resolve(import.meta.dirname, '../../test/golden/device/v1');
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'anello-device-'));
  cpSync(path.join(GOLDEN, 'device'), folder, { recursive: true });
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
  process.exitCode = 0;
});

/** Runs `anello device ...`; returns what it printed, and whether it failed. */
async function device(...args: string[]): Promise<{ text: string; failed: boolean }> {
  const printed: string[] = [];
  const program = new Command().exitOverride();
  register(program);
  const { log } = console;
  console.log = (text: string) => printed.push(text);
  try {
    await program.parseAsync(['device', ...args], { from: 'user' });
  } finally {
    console.log = log;
  }
  const failed = process.exitCode === 1;
  process.exitCode = 0;
  return { text: printed.join('\n'), failed };
}

describe('anello device', () => {
  it('check finds nothing wrong with a good device, and changes nothing', async () => {
    const { text, failed } = await device('check', folder);
    expect(failed).toBe(false);
    expect(text).toContain('everything is good');
    expect(text).toContain('device 7 (d7) of cluster test');
    expect(existsSync(path.join(folder, 'index.db'))).toBe(false);
  });

  it('check names every damaged place', async () => {
    cpSync(path.join(GOLDEN, '00000002-flipped-body.seg'), path.join(folder, 'log/00000002.seg'));
    const { text, failed } = await device('check', folder, '--json');
    expect(failed).toBe(true);
    const { problems } = JSON.parse(text) as { problems: { where: string; what: string }[] };
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatchObject({ what: 'the body is damaged' });
  });

  it('check finds a blob that is missing, and one with a flipped byte', async () => {
    const name = '0000-78dde6c4030303030303030303030303';
    const { text } = await device('dump', folder, '--kind', 'blob', '--json');
    expect(JSON.parse(text)).toMatchObject({ kind: 'blob', size: 70_000 });
    const blobs = path.join(folder, 'blobs/78');
    const file = path.join(blobs, (await import('node:fs')).readdirSync(blobs)[0]!);
    expect(path.basename(file).startsWith(name)).toBe(true);
    const bytes = readFileSync(file);
    bytes[66_000]! ^= 1;
    writeFileSync(file, bytes);
    expect((await device('check', folder)).text).toContain('block 1 is damaged');
    rmSync(file);
    expect((await device('check', folder)).text).toContain('is missing');
  });

  it('dump shows the records of a name', async () => {
    const { text } = await device('dump', folder, '--prefix', '/AUTH_test/c/öbject 1');
    expect(text.split('\n')).toHaveLength(2); // the object and its metadata
    expect(text).toContain('kind=metadata');
  });

  it('rebuild makes the index anew, twice the same', async () => {
    const first = JSON.parse((await device('rebuild', folder, '--json')).text) as {
      entries: number;
    };
    const second = JSON.parse((await device('rebuild', folder, '--json')).text) as {
      entries: number;
    };
    expect(first).toMatchObject({ rebuilt: true, damaged: 0, entries: 6 });
    expect(second.entries).toBe(first.entries);
    expect((await device('check', folder)).failed).toBe(false);
  });

  it('a folder that is no device is one clear error', async () => {
    rmSync(path.join(folder, 'device.json'));
    expect(await device('check', folder).catch(codeOf)).toBe('damaged');
    expect(await device('check', path.join(folder, 'nowhere')).catch(codeOf)).toBe('wrong-use');
  });

  it('sees who has files of a folder open', () => {
    expect(processesUsing(folder)).toEqual([]);
  });
});
