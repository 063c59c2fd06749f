/** The bundle's bytes: old ones stay readable; whatever was changed on the way is told from what was signed. */
import { createPublicKey, verify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { codeOf } from '#base/errors.ts';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import { decodeBundle } from './bundle.ts';

const GOLDEN = path.resolve(import.meta.dirname, '../../test/golden/bundle');
const read = (file: string): Buffer => readFileSync(path.join(GOLDEN, file));
const key = createPublicKey(read('v1/public.pem'));
const isSigned = (bytes: Uint8Array, signature: Uint8Array): boolean =>
  verify(null, bytes, key, signature);

function refusal(bytes: Buffer, check = isSigned): string {
  try {
    decodeBundle(bytes, check);
    return 'taken';
  } catch (error) {
    return codeOf(error);
  }
}

describe('a bundle', () => {
  it('of version 1 stays readable', () => {
    const view = decodeBundle(read('v1/small.bundle'), isSigned);
    expect(view).toMatchObject({ version: 7, hashPrefix: 'prefix', hashSuffix: 'suffix' });
    expect(view.policies).toEqual([
      { index: 0, name: 'standard', copies: 3, states: 3, mode: 'strict', isDefault: true },
    ]);
    expect(view.nodes.get('bari-1')).toMatchObject({ wire: { host: '10.2.0.1', port: 7400 } });
    expect([...view.rings.keys()].sort()).toEqual([0, ACCOUNT_RING, CONTAINER_RING].sort());
    expect(view.rings.get(0)).toMatchObject({ version: 2, partPower: 2, copies: 3 });
    expect(view.settings).toMatchObject({
      name: 'physics',
      limits: { 'repair.share': 0.5 },
      revoked: { nodes: ['gone-1'], serials: ['AB'] },
      links: [{ between: ['lngs', 'bari'], rttMs: 12, bandwidth: 1e8, hours: '22:00-06:00' }],
    });
  });

  it('of a newer version is refused as that', () => {
    expect(refusal(read('newer/small.bundle'))).toBe('newer-format');
  });

  it('of which any byte was changed, or that was cut off anywhere, is refused', () => {
    const good = read('v1/small.bundle');
    const codes = new Set<string>();
    for (let at = 0; at < good.length; at += 1) {
      const flipped = Buffer.from(good);
      flipped[at] = flipped[at]! ^ (1 << (at % 8));
      codes.add(refusal(flipped));
      codes.add(refusal(good.subarray(0, at)));
    }
    expect([...codes].sort()).toEqual(['bad-signature', 'checksum', 'malformed', 'newer-format']);
    expect(refusal(Buffer.concat([good, Buffer.of(0)]))).toBe('malformed');
    expect(refusal(good, () => false)).toBe('bad-signature');
  });
});
