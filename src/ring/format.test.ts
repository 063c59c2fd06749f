import { readFileSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { thrownCode } from '#base/testing/thrown.ts';
import { RingBuilder } from './builder/builder.ts';
import { rebalanced } from './builder/rebalance.ts';
import { decodeRing, encodeRing } from './format.ts';
import { Ring } from './ring.ts';
import { decodeRingFile, encodeRingFile } from './ring-file.ts';
import { anyCluster, device, RUNS, stateOf } from './testing/clusters.ts';

const GOLDEN = path.resolve(import.meta.dirname, '../../test/golden/ring/v1');
const golden = (name: string): Buffer => readFileSync(path.join(GOLDEN, name));

const devices = Array.from({ length: 7 }, (_, i) =>
  device(`s${i % 3}`, 'z', `n${i}`, 'd', 100 + i),
);
const cluster = { devices, partPower: 5, replicas: 2.5, overload: 0.1, seed: 9 };

/** With a removed device, a fractional column and joint partitions. */
function jointBuilder(): RingBuilder {
  const builder = new RingBuilder(rebalanced(stateOf(cluster), { seed: 9, nowHours: 1 }));
  const change = { remove: [2], add: [device('s1', 'z', 'new', 'd', 90)] };
  // Where there were two replicas, one removed device is the majority.
  builder.apply(builder.plan(change, { seed: 10, nowHours: 9 }), { acceptLoss: true });
  return builder;
}

function sample(): Ring {
  return new RingBuilder(rebalanced(stateOf(cluster), { seed: 9, nowHours: 1 })).toRing();
}

describe('ring format', () => {
  it('gives back what was encoded, whatever the ring', () => {
    fc.assert(
      fc.property(anyCluster, (any) => {
        const ring = new RingBuilder(rebalanced(stateOf(any), { seed: 1, nowHours: 1 })).toRing();
        const again = Ring.decode(ring.encode());
        expect(again.fields()).toEqual(ring.fields());
        expect(again.encode().equals(ring.encode())).toBe(true);
      }),
      { ...RUNS, numRuns: 40 },
    );
  });

  it('notices every flipped byte', () => {
    const bytes = sample().encode();
    for (let i = 0; i < bytes.length; i++) {
      const damaged = Buffer.from(bytes);
      damaged[i]! ^= 0x10;
      expect(['malformed', 'newer-format', 'checksum']).toContain(
        thrownCode(() => decodeRing(damaged)),
      );
    }
  });

  it('refuses every shortened ring and any noise', () => {
    const bytes = sample().encode();
    for (let length = 0; length < bytes.length; length++) {
      expect(['malformed', 'checksum']).toContain(
        thrownCode(() => decodeRing(bytes.subarray(0, length))),
      );
    }
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 300 }),
        (noise) => thrownCode(() => decodeRing(noise)) === 'malformed',
      ),
      RUNS,
    );
  });

  it('refuses tables that contradict themselves, though the checksum is right', () => {
    const fields = sample().fields();
    const [first, second] = fields.columns;
    const twice = [first!, first!.slice()];
    const unknown = first!.map(() => 77);
    expect(thrownCode(() => decodeRing(encodeRing({ ...fields, columns: twice })))).toBe(
      'malformed',
    );
    expect(
      thrownCode(() => decodeRing(encodeRing({ ...fields, columns: [unknown, second!] }))),
    ).toBe('malformed');
    expect(thrownCode(() => decodeRing(encodeRing({ ...fields, columns: [] })))).toBe('malformed');
    expect(
      thrownCode(() => decodeRing(encodeRing({ ...fields, columns: [first!.slice(1), second!] }))),
    ).toBe('malformed');
    expect(thrownCode(() => decodeRing(encodeRing({ ...fields, partPower: 25 })))).toBe(
      'malformed',
    );
    const former = {
      partitions: Uint32Array.of(3, 3),
      since: Float64Array.of(1, 1),
      width: 1,
      devices: Uint16Array.of(0, 1),
    };
    expect(thrownCode(() => decodeRing(encodeRing({ ...fields, former })))).toBe('malformed');
    const weightless = fields.devices.map((item) => item && { ...item, weight: Number.NaN });
    expect(thrownCode(() => decodeRing(encodeRing({ ...fields, devices: weightless })))).toBe(
      'malformed',
    );
  });

  it('reads the golden ring of version 1, and writes it the same', () => {
    const bytes = golden('fractional.ring-plain');
    const ring = Ring.decode(bytes);
    expect(ring).toMatchObject({
      policy: 3,
      version: 7,
      partPower: 3,
      copies: 2,
      replicas: 2.5,
      jointPartitions: 2,
    });
    expect(ring.placement(0)).toMatchObject({
      primaries: [
        { id: 0, site: 'lngs', meta: { wire: '192.0.2.1:7400' } },
        { id: 2 },
        { id: 5, weight: 0.5 },
      ],
    });
    expect(ring.placement(6).former?.map((item) => item.id)).toEqual([0, 5]);
    expect(ring.placement(1).former?.map((item) => item.id)).toEqual([5, 0, 2]);
    expect(ring.encode().equals(bytes)).toBe(true);
  });

  it('reads the golden ring of a change that was settled in part, and writes it the same', () => {
    const bytes = golden('joint-since.ring-plain');
    const ring = Ring.decode(bytes);
    expect(ring).toMatchObject({ version: 12, jointPartitions: 3 });
    expect([...ring.joint()].map((partition) => ring.placement(partition).since)).toEqual([
      10, 10, 12,
    ]);
    expect(ring.encode().equals(bytes)).toBe(true);
  });

  it('takes partitions of which no version is told for joint since this very version', () => {
    const ring = Ring.decode(golden('fractional.ring-plain'));
    expect(ring.placement(6).since).toBe(7);
  });

  it('refuses versions of former sets that are above its own, or not as many as the sets', () => {
    const fields = Ring.decode(golden('joint-since.ring-plain')).fields();
    const since = (...versions: number[]) => ({
      ...fields,
      former: { ...fields.former, since: Float64Array.from(versions) },
    });
    expect(thrownCode(() => decodeRing(encodeRing(since(10, 10, 13))))).toBe('malformed');
    expect(thrownCode(() => decodeRing(encodeRing(since(10, 10))))).toBe('malformed');
    expect(thrownCode(() => decodeRing(encodeRing(since(10, 10, 11, 12))))).toBe('malformed');
    expect(thrownCode(() => decodeRing(encodeRing(since(10, 10, 0.5))))).toBe('malformed');
  });

  it('refuses the golden ring of a later version clearly', () => {
    expect(thrownCode(() => Ring.decode(golden('newer.ring-plain')))).toBe('newer-format');
    expect(thrownCode(() => Ring.decode(golden('damaged.ring-plain')))).toBe('checksum');
  });
});

describe('ring file', () => {
  const sign = (bytes: Uint8Array): Buffer => Buffer.from([bytes.length & 0xff, bytes[0]!, 7]);
  const verify = (bytes: Uint8Array, signature: Uint8Array): boolean =>
    sign(bytes).equals(signature);

  it('keeps ring and signature, and is smaller than the ring', () => {
    const ring = new RingBuilder(
      rebalanced(stateOf({ ...cluster, partPower: 12 }), { seed: 9, nowHours: 1 }),
    ).toRing();
    const bytes = encodeRingFile(ring, sign);
    expect(decodeRingFile(bytes, verify).encode().equals(ring.encode())).toBe(true);
    expect(bytes.length).toBeLessThan(ring.encode().length / 2);
  });

  it('keeps former sets, removed devices among them', () => {
    const builder = jointBuilder();
    const ring = decodeRingFile(encodeRingFile(builder.toRing()));
    expect(ring.jointPartitions).toBe(builder.state.former.size);
    expect(ring.jointPartitions).toBeGreaterThan(0);
    expect(ring.device(2)?.weight).toBe(0);
  });

  it('is not taken unsigned, or signed by another, where a signature is asked for', () => {
    expect(thrownCode(() => decodeRingFile(encodeRingFile(sample()), verify))).toBe(
      'bad-signature',
    );
    const other = encodeRingFile(sample(), () => Buffer.from([1, 2, 3]));
    expect(thrownCode(() => decodeRingFile(other, verify))).toBe('bad-signature');
    expect(decodeRingFile(other).version).toBe(1);
  });

  it('notices every flipped byte', () => {
    const bytes = encodeRingFile(sample(), sign);
    for (let i = 0; i < bytes.length; i++) {
      const damaged = Buffer.from(bytes);
      damaged[i]! ^= 0x01;
      expect(['malformed', 'newer-format', 'checksum']).toContain(
        thrownCode(() => decodeRingFile(damaged)),
      );
    }
    for (let length = 0; length < bytes.length; length++) {
      expect(['malformed', 'checksum']).toContain(
        thrownCode(() => decodeRingFile(bytes.subarray(0, length))),
      );
    }
  });

  it('reads the golden file of version 1', () => {
    const ring = decodeRingFile(
      golden('fractional.ring'),
      (_, signature) => signature.length === 64,
    );
    expect(ring.encode().equals(golden('fractional.ring-plain'))).toBe(true);
    expect(thrownCode(() => decodeRingFile(golden('bomb.ring')))).toBe('malformed');
  });
});
