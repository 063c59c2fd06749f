/**
 * Made test/golden/device/v1, once: a small device on a simulated disk, and damaged copies of parts of
 * it. Golden bytes are never made again, because what they prove is that today's code reads what the
 * code of then has written; so this refuses to write over them. A new format version gets a new folder.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { crc32 } from 'node:zlib';
import { encodeState } from '#base/entry-codec.ts';
import { newestTimestamp } from '#base/entry.ts';
import { CONTAINER_RING } from '#base/names.ts';
import { BATCH_HEADER_BYTES, RECORD_HEADER_BYTES } from '#device/format.ts';
import type { LogDevice } from '#device/open.ts';
import { bytes, DeviceFixture, FOLDER, keyOf, pathOf } from '#device/testing/device-fixture.ts';

const TARGET = path.resolve(import.meta.dirname, 'v1');
if (existsSync(TARGET)) throw new Error(`${TARGET} is there already, and is never made again`);

const fixture = new DeviceFixture('golden 1', { inlineLimit: 2000, segmentBytes: 6000, stageMemory: 0 });
await fixture.world.run(make());

async function make(): Promise<void> {
  await fixture.format();
  const device = await fixture.open();
  await fill(device);
  const expected = describe(device);
  await device.close();
  await copy(FOLDER, path.join(TARGET, 'device'));
  writeFileSync(path.join(TARGET, 'expected.json'), `${JSON.stringify(expected, undefined, 2)}\n`);
  await damage();
}

/** Every kind of record that this version writes. */
async function fill(device: LogDevice): Promise<void> {
  await device.completeness.mark(0, 0, 1000, true);
  await device.completeness.mark(0, 5000, 6000, true);
  await Promise.all([fixture.put(device, 1, bytes(1500, 1)), fixture.put(device, 2, bytes(0))]);
  await fixture.putStaged(device, 3, bytes(70_000, 3));
  const metadata = { key: keyOf(1), path: pathOf(1), state: fixture.metadata({ farbe: 'grün' }) };
  await device.write({ ...metadata, unlisted: false, intent: 'write' });
  await fixture.remove(device, 2);
  await fixture.put(device, 4, bytes(1900, 4), fixture.live(1900, { deleteAt: 2_000_000_000 }));
  await fixture.put(device, 5, bytes(100, 5));
  device.markListed(keyOf(5), newestTimestamp(device.stat(keyOf(5))!.state));
  await device.forget(device.stat(keyOf(5))!);
  await device.promise(keyOf(6), pathOf(6), fixture.clock.now());
  const row = { key: keyOf(7, CONTAINER_RING), path: '/AUTH_test/c', name: 'öbject 1' };
  await device.rowLog.append({ ...row, state: fixture.live(1500) });
  await fixture.put(device, 8, bytes(1800, 8));
  await fixture.put(device, 9, bytes(1800, 9));
}

function describe(device: LogDevice): unknown {
  const entries = device.entries(0, Buffer.alloc(16), undefined, 100);
  const [digest] = device.digests.summarise(0, 0, 1 << 20, 1);
  return {
    entries: entries.map((entry) => ({
      path: entry.path,
      state: encodeState(entry.state).toString('hex'),
      unlisted: entry.unlisted,
      hasBody: entry.hasBody,
    })),
    digest: digest!.sum.toString('hex'),
    complete: device.completeness.ranges(0),
    row: encodeState(fixture.rows.get({ key: keyOf(7, CONTAINER_RING), name: 'öbject 1' })!).toString('hex'),
  };
}

async function copy(from: string, to: string): Promise<void> {
  const { disk } = fixture.env;
  mkdirSync(to, { recursive: true });
  for (const name of await disk.list(from)) {
    if (/\.db$/.test(name) || name === 'quarantine') continue;
    const stat = await disk.stat(`${from}/${name}`);
    if (stat!.kind === 'directory') await copy(`${from}/${name}`, path.join(to, name));
    else writeFileSync(path.join(to, name), await disk.read(`${from}/${name}`));
  }
}

/** Copies of the last segment with one thing wrong each. */
async function damage(): Promise<void> {
  const { disk } = fixture.env;
  const last = (await disk.list(`${FOLDER}/log`)).at(-1)!;
  const whole = await disk.read(`${FOLDER}/log/${last}`);
  const save = (name: string, change: (copy: Buffer) => Buffer): void => {
    writeFileSync(path.join(TARGET, `${last.replace('.seg', '')}-${name}.seg`), change(Buffer.from(whole)));
  };
  const unclean = whole.length - BATCH_HEADER_BYTES;
  save('torn', (copy) => copy.subarray(0, unclean - 700));
  save('flipped-body', (copy) => flip(copy, unclean - 700));
  save('flipped-head', (copy) => flip(copy, 64 + BATCH_HEADER_BYTES + RECORD_HEADER_BYTES + 2));
  save('flipped-batch', (copy) => flip(copy, 64 + 20));
  save('newer', (copy) => newer(copy));
}

function flip(copy: Buffer, at: number): Buffer {
  copy[at] = copy[at]! ^ 0x10;
  return copy;
}

/** Version 2 with a right checksum: not damaged, just not ours. */
function newer(copy: Buffer): Buffer {
  copy.writeUInt16BE(2, 4);
  copy.writeUInt32BE(crc32(copy.subarray(0, 60)), 60);
  return copy;
}
