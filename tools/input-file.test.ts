import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { codeOf, messageOf } from '#base/errors.ts';
import { readInputText, readInputYaml, readSecret } from './input-file.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'anello-input-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Code and text of what it throws. */
function refusal(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    return `${codeOf(error)}: ${messageOf(error)}`;
  }
  throw new Error('it was taken');
}

describe('a file of the command line', () => {
  it('is read, or wrong use that names it in one line', () => {
    const file = path.join(folder, 'cluster.yaml');
    writeFileSync(file, 'name: physics\nsites: [lngs]\n');
    expect(readInputText(file)).toContain('physics');
    expect(readInputYaml(file)).toEqual({ name: 'physics', sites: ['lngs'] });
    const missing = path.join(folder, 'none');
    expect(refusal(() => readInputYaml(missing))).toBe(
      `wrong-use: cannot read ${missing} (ENOENT)`,
    );
    expect(refusal(() => readInputText(folder))).toBe(`wrong-use: cannot read ${folder} (EISDIR)`);
    writeFileSync(file, 'sites: [lngs\n');
    const torn = refusal(() => readInputYaml(file));
    expect(torn).toContain(`wrong-use: ${file} is no YAML: `);
    expect(torn).not.toContain('\n');
  });
});

describe('a secret of the command line', () => {
  it('is what is given, or the first line of standard input', () => {
    const file = path.join(folder, 'secret');
    expect(readSecret('s3cret', file)).toBe('s3cret');
    writeFileSync(file, 's3 cret \r\nmore\n');
    expect(readSecret('-', file)).toBe('s3 cret ');
    writeFileSync(file, '\n');
    expect(refusal(() => readSecret('-', file))).toBe(
      'wrong-use: "-": there is nothing on standard input',
    );
    expect(refusal(() => readSecret('-', folder))).toBe(
      'wrong-use: cannot read standard input (EISDIR)',
    );
  });
});
