import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Command } from 'commander';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { thrownCode } from '#base/testing/thrown.ts';
import { decodeRingFile } from '#ring/ring-file.ts';
import { register } from '../commands/ring.ts';

const LOCAL = path.resolve(import.meta.dirname, '../../rings/local.yaml');
let folder: string;
let printed: string[];

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'anello-ring-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Runs `anello ring ...`; returns what it printed, or throws what it threw. */
function ring(...args: string[]): string {
  printed = [];
  const program = new Command().exitOverride();
  register(program);
  const { log } = console;
  console.log = (text: string) => printed.push(text);
  try {
    const where = args.includes('--builder') ? [] : ['--builder', folder];
    program.parse(['ring', ...args, ...where], { from: 'user' });
  } finally {
    console.log = log;
  }
  return printed.join('\n');
}

function json(...args: string[]) {
  return JSON.parse(ring(...args, '--json'));
}

describe('anello ring', () => {
  it('plans, applies, looks up, checks and undoes', () => {
    expect(ring('plan', LOCAL, '--now', '100')).toContain('object/precious: new, version 1');
    expect(readdirSync(folder)).toEqual(['plan.json']);
    ring('apply');
    expect(readdirSync(folder).filter((name) => name.endsWith('.ring'))).toHaveLength(5);
    const published = decodeRingFile(readFileSync(path.join(folder, 'object-standard.ring')));
    const found = json('lookup', '/AUTH_x/photos/a.jpg', '--hash-prefix', 'p');
    expect(found.ring).toBe('object/standard');
    expect(found.primaries).toEqual(published.placement(found.partition).primaries);
    expect(found.handoffs).toHaveLength(3);
    expect(json('lookup', '/AUTH_x/photos').ring).toBe('container');
    expect(json('lookup', '/AUTH_x').ring).toBe('account');
    expect(ring('check')).toContain('as they should be');
    const plan = json(
      'plan',
      '--set-weight',
      'bari/bari-1/d1=50',
      '--bytes-used',
      '8GB',
      '--bandwidth',
      '100MB',
      '--now',
      '110',
    );
    expect(plan.replicas).toBeGreaterThan(0);
    expect(plan.bytes).toBeGreaterThan(0);
    expect(plan.seconds).toBeGreaterThan(0);
    const applied = json('apply', '--bytes-used', '8GB');
    expect(applied.pairs).toEqual(plan.pairs);
    expect(applied.rings[0].moves).toEqual(plan.rings[0].moves);
    expect(json('show', 'container').rings[0]).toMatchObject({ version: 2, undoable: 1 });
    expect(json('undo', '--now', '111').versions['container']).toBe(3);
    expect(ring('check')).toContain('as they should be');
  });

  it('refuses what puts partitions at risk, and does it when the loss is accepted', () => {
    ring('apply', LOCAL, '--now', '100');
    expect(
      thrownCode(() => ring('plan', '--remove', 'lngs', '--remove', 'bari', '--now', '110')),
    ).toBe('ring-at-risk');
    expect(printed.join('\n')).toContain('RISK: ');
    expect(
      thrownCode(() => ring('apply', '--remove', 'lngs', '--remove', 'bari', '--now', '110')),
    ).toBe('ring-at-risk');
    expect(thrownCode(() => ring('apply'))).toBe('no-plan');
    expect(json('show', 'account').rings[0].version).toBe(1);
    const both = ['apply', '--remove', 'lngs', '--remove', 'bari', '--now', '110'];
    expect(thrownCode(() => ring(...both, '--force'))).toBe('ring-at-risk');
    ring(...both, '--accept-loss');
    expect(
      json('show', 'account').rings[0].devices.every((d: { site: string }) => d.site === 'padova'),
    ).toBe(true);
  });

  it('drains a node over several rebalances, as min_part_hours allows', () => {
    ring('apply', LOCAL, '--now', '100');
    ring('apply', '--drain', 'padova-1', '--now', '110');
    for (const now of ['120', '130', '140']) {
      ring('settle');
      ring('apply', '--drain', 'padova-1', '--now', now);
    }
    for (const view of json('show').rings) {
      const held = view.devices.filter((device: { node: string }) => device.node === 'padova-1');
      expect(held.map((device: { replicas: number }) => device.replicas)).toEqual([0, 0]);
    }
  });

  it('does not apply a plan to rings that have changed since', () => {
    ring('apply', LOCAL, '--now', '100');
    ring('plan', '--set-weight', '0=50', '--now', '110');
    const kept = readFileSync(path.join(folder, 'plan.json'));
    ring('apply', '--set-weight', '1=50', '--now', '110');
    expect(existsSync(path.join(folder, 'plan.json'))).toBe(false);
    writeFileSync(path.join(folder, 'plan.json'), kept);
    expect(thrownCode(() => ring('apply'))).toBe('stale-plan');
  });

  it('says what is wrong with the command line', () => {
    expect(thrownCode(() => ring('plan'))).toBe('no-rings');
    expect(thrownCode(() => ring('plan', '/nowhere.yaml'))).toBe('no-description');
    const typed = path.join(folder, 'typo');
    expect(thrownCode(() => ring('undo', '--builder', typed))).toBe('no-rings');
    expect(existsSync(typed)).toBe(false);
    ring('apply', LOCAL, '--now', '100');
    expect(thrownCode(() => ring('plan', '--set-weight', 'x'))).toBe('wrong-use');
    expect(thrownCode(() => ring('plan', '--set-weight', '0=heavy'))).toBe('wrong-use');
    expect(thrownCode(() => ring('plan', '--add-device', 'a/b=1'))).toBe('wrong-use');
    expect(thrownCode(() => ring('plan', '--add-device', 'bari/z9/bari-9/d1=1'))).toBe('wrong-use');
    expect(thrownCode(() => ring('plan', LOCAL, '--drain', 'bari'))).toBe('wrong-use');
    expect(thrownCode(() => ring('plan', '--remove', 'atlantis'))).toBe('unknown-device');
    expect(thrownCode(() => ring('show', 'object/none'))).toBe('unknown-ring');
    expect(thrownCode(() => ring('lookup', 'no-slash'))).toBe('wrong-use');
    expect(thrownCode(() => ring('plan', '--drain', 'bari', '--bytes-used', '/nowhere.json'))).toBe(
      'wrong-use',
    );
  });

  it('finishes a change that was cut off between two files', () => {
    ring('apply', LOCAL, '--now', '100');
    const names = readdirSync(folder).filter((name) => /\.(ring|builder)$/.test(name));
    const old = new Map(names.map((name) => [name, readFileSync(path.join(folder, name))]));
    ring('apply', '--set-weight', '0=50', '--now', '110');
    for (const name of names.slice(3)) {
      renameSync(path.join(folder, name), path.join(folder, `${name}.new`));
      writeFileSync(path.join(folder, name), old.get(name)!);
    }
    writeFileSync(path.join(folder, 'change.journal'), JSON.stringify({ format: 1, files: names }));
    expect(ring('check')).toContain('as they should be');
    expect(json('show').rings.every((view: { version: number }) => view.version === 2)).toBe(true);
    expect(readdirSync(folder).filter((name) => /\.new$|journal/.test(name))).toEqual([]);
  });

  it('reports damaged, missing and foreign files by name', () => {
    ring('apply', LOCAL, '--now', '100');
    const file = path.join(folder, 'container.ring');
    const bytes = readFileSync(file);
    writeFileSync(file, bytes.subarray(0, 40));
    expect(() => ring('check')).toThrow(
      /container\.ring: malformed ring file|container\.ring: .*checksum/,
    );
    rmSync(file);
    expect(() => ring('check')).toThrow(/container\.ring is missing/);
    writeFileSync(file, readFileSync(path.join(folder, 'account.ring')));
    expect(() => ring('check')).toThrow(/container\.ring is not the builder's ring/);
    writeFileSync(path.join(folder, 'container.builder'), 'nonsense');
    expect(() => ring('show')).toThrow(/container\.builder: malformed builder/);
  });

  it('lets one change at a time into a folder, and forgets a dead one', () => {
    ring('apply', LOCAL, '--now', '100');
    writeFileSync(path.join(folder, 'lock'), String(process.pid));
    expect(thrownCode(() => ring('apply', '--set-weight', '0=50'))).toBe('busy');
    writeFileSync(path.join(folder, 'lock'), '4194305');
    ring('apply', '--set-weight', '0=50', '--now', '110');
    expect(existsSync(path.join(folder, 'lock'))).toBe(false);
  });
});
