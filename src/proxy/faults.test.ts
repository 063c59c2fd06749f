/** The proxy's promises under faults: dead, stale, incomplete and skewed replicas. */
import { describe, expect, it } from 'vitest';
import { OperatingError } from '#base/errors.ts';
import { rejectedCode } from '#base/testing/thrown.ts';
import {
  collect,
  objectName,
  patternBytes,
  putRequest,
  TestCluster,
} from './testing/test-cluster.ts';

const HOUR_MS = 3_600_000;
const FOUR = ['lngs', 'bari', 'padova', 'padova-2'];
const FIVE = [...FOUR, 'bari-2'];

function put(cluster: TestCluster, object: string, body: Buffer, from = 'lngs') {
  const { proxy } = cluster.node(from);
  return cluster.run(proxy.putObject(cluster.operation(), objectName(object), putRequest(body)));
}

async function get(
  cluster: TestCluster,
  object: string,
  from = 'lngs',
): Promise<Buffer | undefined> {
  const work = async (): Promise<Buffer | undefined> => {
    const { proxy } = cluster.node(from);
    const reader = await proxy.openObject(cluster.operation(), objectName(object));
    return reader && collect(reader.read(0, reader.length));
  };
  return cluster.run(work());
}

describe('with a dead replica', () => {
  it('writes, reads and answers an honest 404', async () => {
    const cluster = await TestCluster.startWithContainer();
    cluster.kill('padova');
    const body = Buffer.from('one replica is dead');
    const result = await put(cluster, 'x', body);
    expect(result.kind).toBe('stored');
    expect(result.ack).toBeUndefined();
    expect(await get(cluster, 'x')).toEqual(body);
    expect(await get(cluster, 'missing')).toBeUndefined();
  });

  it('refuses with two dead: writes and reads, a 404 too', async () => {
    const cluster = await TestCluster.startWithContainer();
    await put(cluster, 'x', Buffer.from('before'));
    cluster.kill('padova');
    cluster.kill('bari');
    expect(await rejectedCode(put(cluster, 'y', Buffer.from('y')))).toBe('unavailable');
    expect(await rejectedCode(get(cluster, 'x'))).toBe('unavailable');
    expect(await rejectedCode(get(cluster, 'missing'))).toBe('unavailable');
  });

  it('serves again with the first requests after the lines are mended', async () => {
    const cluster = await TestCluster.startWithContainer();
    const body = Buffer.from('before');
    await put(cluster, 'x', body);
    const { network } = cluster.world;
    for (let cut = 0; cut < 4; cut++) {
      network.partition(['lngs'], ['bari', 'padova']);
      await cluster.world.runFor(15_000);
      expect(await rejectedCode(get(cluster, 'x'))).toBe('unavailable');
      expect(await rejectedCode(put(cluster, 'x', body))).toBe('unavailable');
      network.heal();
      expect(await get(cluster, 'x')).toEqual(body);
      expect((await put(cluster, 'x', body)).kind).toBe('stored');
    }
  });

  it('leaves an extra copy on a handoff, which never counts', async () => {
    const cluster = await TestCluster.startWithContainer({ sites: FOUR });
    cluster.kill('padova');
    const body = Buffer.from('extra copy');
    expect((await put(cluster, 'x', body)).ack).toBeUndefined();
    await cluster.world.runFor(100);
    expect(cluster.entryAt('padova-2', 'x')?.hasBody).toBe(true);
    cluster.kill('bari');
    expect(await rejectedCode(put(cluster, 'y', Buffer.from('y')))).toBe('unavailable');
  });

  it('stages a large body on a handoff too', async () => {
    const cluster = await TestCluster.startWithContainer({ sites: FOUR });
    cluster.kill('padova');
    await cluster.world.runFor(100); // the proxy has lost its connection
    const body = patternBytes(2 * 1024 * 1024);
    expect((await put(cluster, 'big', body)).kind).toBe('stored');
    await cluster.world.runFor(100);
    expect(cluster.entryAt('padova-2', 'big')?.hasBody).toBe(true);
    expect((await get(cluster, 'big', 'bari'))?.equals(body)).toBe(true);
  });
});

describe('a stale replica', () => {
  it('is repaired by a read, small body and all', async () => {
    const cluster = await TestCluster.startWithContainer();
    await put(cluster, 'x', Buffer.from('old'));
    cluster.kill('bari');
    await put(cluster, 'x', Buffer.from('new'));
    await cluster.restart('bari');
    expect(cluster.entryAt('bari', 'x')?.state.data?.size).toBe(3);
    await cluster.world.runFor(2_000);
    // Reads from bari itself meet its stale copy first, and must not answer it.
    expect(await get(cluster, 'x', 'bari')).toEqual(Buffer.from('new'));
    await cluster.world.runFor(1_000);
    const repaired = cluster.entryAt('bari', 'x');
    expect(repaired?.state).toEqual(cluster.entryAt('lngs', 'x')?.state);
    expect(repaired?.hasBody).toBe(true);
  });

  it('fetches a large body itself, in the background', async () => {
    const cluster = await TestCluster.startWithContainer();
    cluster.kill('bari');
    const body = patternBytes(2 * 1024 * 1024 + 5);
    await put(cluster, 'big', body);
    await cluster.restart('bari');
    await cluster.world.runFor(2_000);
    expect((await get(cluster, 'big', 'bari'))?.equals(body)).toBe(true);
    await cluster.world.runFor(2_000);
    expect(cluster.entryAt('bari', 'big')?.hasBody).toBe(true);
  });
});

describe('an incomplete replica', () => {
  it('stores and serves, but counts in no majority', async () => {
    const cluster = await TestCluster.startWithContainer({ blank: ['bari'] });
    expect((await put(cluster, 'x', Buffer.from('x'))).kind).toBe('stored');
    await cluster.world.runFor(100);
    expect(cluster.entryAt('bari', 'x')?.hasBody).toBe(true);
    cluster.kill('padova');
    expect(await rejectedCode(put(cluster, 'y', Buffer.from('y')))).toBe('unavailable');
    expect(await rejectedCode(get(cluster, 'missing'))).toBe('unavailable');
  });
});

describe('clocks that differ by an hour', () => {
  it.each([
    ['ahead', HOUR_MS],
    ['behind', -HOUR_MS],
  ])('a later write wins, also where its proxy is %s', async (_name, skewMs) => {
    const cluster = await TestCluster.startWithContainer({ skewMs: { bari: skewMs } });
    const writers = ['lngs', 'bari', 'lngs', 'padova', 'bari', 'lngs'];
    for (const [i, from] of writers.entries()) {
      await put(cluster, 'x', Buffer.from(`write ${i}`), from);
      expect(await get(cluster, 'x', 'padova')).toEqual(Buffer.from(`write ${i}`));
    }
    const big = patternBytes(1_500_000);
    await put(cluster, 'x', big, 'lngs');
    expect((await get(cluster, 'x', 'bari'))?.equals(big)).toBe(true);
  });

  it('a write that is superseded asks, goes above, and wins', async () => {
    const cluster = await TestCluster.startWithContainer({
      skewMs: { bari: HOUR_MS },
      deafClocks: true,
    });
    await put(cluster, 'x', Buffer.from('from the future'), 'bari');
    const before = cluster.entryAt('lngs', 'x')!.state.data!.timestamp;
    await put(cluster, 'x', Buffer.from('later'), 'lngs');
    await cluster.world.runFor(100); // the third replica may be behind the answer
    const after = cluster.entryAt('lngs', 'x')!.state.data!.timestamp;
    expect(after > before).toBe(true);
    const [trace] = cluster.node('lngs').proxy.tracer.latest(1);
    const outcomes = trace!.steps
      .filter((step) => step.call === 'object.write')
      .map((step) => step.outcome);
    expect(outcomes).toContain('superseded');
    expect(outcomes.filter((outcome) => outcome === 'stored').length).toBeGreaterThanOrEqual(2);
    expect(await get(cluster, 'x', 'padova')).toEqual(Buffer.from('later'));
  });

  it('a streamed write goes above what its replicas staged over', async () => {
    const cluster = await TestCluster.startWithContainer({
      skewMs: { bari: HOUR_MS },
      deafClocks: true,
    });
    await put(cluster, 'x', Buffer.from('from the future'), 'bari');
    const body = patternBytes(1_200_000);
    await put(cluster, 'x', body, 'lngs');
    expect((await get(cluster, 'x', 'bari'))?.equals(body)).toBe(true);
    const [trace] = cluster.node('lngs').proxy.tracer.latest(1);
    expect(trace!.steps.map((step) => step.outcome)).not.toContain('superseded');
  });

  it('a deletion from a clock that is behind deletes all the same', async () => {
    const cluster = await TestCluster.startWithContainer({
      skewMs: { bari: HOUR_MS },
      deafClocks: true,
    });
    await put(cluster, 'x', Buffer.from('from the future'), 'bari');
    const { proxy } = cluster.node('lngs');
    const answer = await cluster.run(proxy.deleteObject(cluster.operation(), objectName('x')));
    expect(answer).toBe('deleted');
    expect(await get(cluster, 'x', 'bari')).toBeUndefined();
  });

  it('a timestamp beyond the drift limit is refused, not adopted', async () => {
    const cluster = await TestCluster.startWithContainer({
      skewMs: { bari: 5 * HOUR_MS },
      deafClocks: true,
    });
    await put(cluster, 'x', Buffer.from('five hours ahead'), 'bari');
    cluster.node('lngs').machine.jumpWallClock(-2 * HOUR_MS);
    const code = await rejectedCode(put(cluster, 'x', Buffer.from('now'), 'lngs'));
    expect(['clock-drift', 'unavailable']).toContain(code);
  });
});

describe('two writers at once', () => {
  it('agree on one of the two everywhere', async () => {
    const cluster = await TestCluster.startWithContainer();
    for (let round = 0; round < 10; round++) {
      const bodies = [Buffer.from(`a${round}`), Buffer.from(`b${round}`)];
      const writes = bodies.map((body, i) =>
        cluster
          .node(['lngs', 'bari'][i]!)
          .proxy.putObject(cluster.operation(), objectName('x'), putRequest(body)),
      );
      const results = await cluster.run(Promise.all(writes));
      expect(results.map((result) => result.kind)).toEqual(['stored', 'stored']);
      const seen = [await get(cluster, 'x', 'lngs'), await get(cluster, 'x', 'padova')];
      expect(seen[0]).toEqual(seen[1]);
      expect(bodies).toContainEqual(seen[0]);
    }
  });
});

describe('available and local containers', () => {
  it('available: handoffs stand in, and the reply says so', async () => {
    const cluster = await TestCluster.startWithContainer({ sites: FIVE, mode: 'available' });
    expect((await put(cluster, 'x', Buffer.from('all there'))).ack).toBeUndefined();
    cluster.kill('padova');
    cluster.kill('bari');
    const result = await put(cluster, 'y', Buffer.from('handed over'));
    expect(result).toMatchObject({ kind: 'stored', ack: 'handoff' });
    const reader = await cluster.run(
      cluster.proxy.openObject(cluster.operation(), objectName('y')),
    );
    expect(reader?.degraded).toBe(true);
    expect(reader?.inline?.toString()).toBe('handed over');
    expect(await rejectedCode(get(cluster, 'missing'))).toBe('unavailable');
  });

  it('available: a deletion that stand-ins took does not say "not found" (simulator, seed 1)', async () => {
    const cluster = await TestCluster.startWithContainer({ sites: FIVE, mode: 'available' });
    const remove = () =>
      cluster.run(cluster.proxy.deleteObject(cluster.operation(), objectName('x')));
    expect(await remove()).toBe('not-found');
    cluster.kill('padova');
    cluster.kill('bari');
    expect(await remove()).toBe('deleted');
  });

  it('available: says when the row is still on its way', async () => {
    const cluster = await TestCluster.startWithContainer({ mode: 'available' });
    cluster.rows.broken.add(1).add(2);
    expect(await put(cluster, 'x', Buffer.from('x'))).toMatchObject({ ack: 'unlisted' });
  });

  it('local: two devices of this site are enough', async () => {
    const cluster = await TestCluster.startWithContainer({
      sites: ['lngs', 'bari', 'padova', 'lngs-2'],
      mode: 'local',
    });
    cluster.kill('bari');
    cluster.kill('padova');
    expect(await put(cluster, 'x', Buffer.from('x'))).toMatchObject({
      kind: 'stored',
      ack: 'local',
    });
    expect(cluster.entryAt('lngs-2', 'x')?.hasBody).toBe(true);
  });
});

describe('two copies and a witness', () => {
  it('keeps the body on two devices and the state on three', async () => {
    const cluster = await TestCluster.startWithContainer({ copies: 2 });
    const body = Buffer.from('two copies');
    await put(cluster, 'x', body);
    await cluster.world.runFor(100);
    const holders = ['lngs', 'bari', 'padova'].map((node) => cluster.entryAt(node, 'x')?.hasBody);
    expect(holders).toEqual([true, true, false]);
    expect(await get(cluster, 'x', 'padova')).toEqual(body);
  });

  it('wants the body on two devices before it acknowledges', async () => {
    const cluster = await TestCluster.startWithContainer({ copies: 2, sites: FOUR });
    cluster.kill('bari');
    const body = Buffer.from('a stand-in has the second copy');
    expect((await put(cluster, 'x', body)).kind).toBe('stored');
    expect(cluster.entryAt('padova-2', 'x')?.hasBody).toBe(true);
    expect(await get(cluster, 'x', 'padova')).toEqual(body);
    const alone = await TestCluster.startWithContainer({ copies: 2 });
    alone.kill('bari');
    expect(await rejectedCode(put(alone, 'x', body))).toBe('unavailable');
  });
});

describe('a download', () => {
  it('goes on from another replica at the same byte when its own dies', async () => {
    const cluster = await TestCluster.startWithContainer();
    const body = patternBytes(6 * 1024 * 1024 + 3);
    await put(cluster, 'big', body);
    await cluster.world.runFor(1_000);
    const work = async (): Promise<Buffer> => {
      const reader = await cluster
        .node('lngs')
        .proxy.openObject(cluster.operation(), objectName('big'));
      const chunks: Buffer[] = [];
      let length = 0;
      for await (const chunk of reader!.read(0, reader!.length)) {
        chunks.push(Buffer.from(chunk));
        length += chunk.length;
        if (length > 1_000_000 && cluster.node('bari').machine.isUp) {
          cluster.device('lngs').read = () => broken();
          cluster.kill('bari');
        }
      }
      return Buffer.concat(chunks);
    };
    expect((await cluster.run(work())).equals(body)).toBe(true);
  });

  it('breaks off rather than mix versions', async () => {
    const cluster = await TestCluster.startWithContainer();
    const old = patternBytes(5 * 1024 * 1024);
    await put(cluster, 'big', old);
    const work = async (): Promise<string> => {
      const reader = await cluster.proxy.openObject(cluster.operation(), objectName('big'));
      const chunks: Buffer[] = [];
      try {
        for await (const chunk of reader!.read(0, reader!.length)) {
          chunks.push(Buffer.from(chunk));
          if (chunks.length !== 1) continue;
          const request = putRequest(patternBytes(5 * 1024 * 1024, 99));
          await cluster
            .node('bari')
            .proxy.putObject(cluster.operation(), objectName('big'), request);
        }
      } catch (error) {
        return (error as OperatingError).code;
      }
      return Buffer.concat(chunks).equals(old) ? 'whole' : 'mixed';
    };
    expect(['whole', 'unavailable']).toContain(await cluster.run(work()));
  });
});

// biome-ignore lint/correctness/useYield: it fails before its first chunk
async function* broken(): AsyncGenerator<Buffer> {
  throw new OperatingError('device-failed', 'the disk is gone');
}

describe('a ring that the devices have left behind', () => {
  it('is refused, and the operation starts again with the new one', async () => {
    const cluster = await TestCluster.startWithContainer();
    const body = Buffer.from('placed twice');
    await put(cluster, 'x', body);
    cluster.publishRings(3, { except: 'lngs' });
    const reading = get(cluster, 'x');
    cluster.world.schedule(500, 'the ring arrives', () => cluster.publishRings(3));
    expect(await reading).toEqual(body);
    cluster.publishRings(5, { except: 'lngs' });
    const writing = put(cluster, 'y', body);
    cluster.world.schedule(500, 'the ring arrives', () => cluster.publishRings(5));
    expect((await writing).kind).toBe('stored');
  });

  it('never makes a change of metadata "not found" whose first attempt is stored and has expired (seed 903052)', async () => {
    const cluster = await TestCluster.startWithContainer();
    await put(cluster, 'x', Buffer.from('expires between two attempts'));
    const device = cluster.device('lngs');
    const write = device.write.bind(device);
    device.write = (request) => {
      device.write = write;
      // The others have it before the first attempt comes.
      cluster.publishRings(3, { except: 'lngs' });
      cluster.world.schedule(2_000, 'the ring arrives', () => cluster.publishRings(3));
      return write(request);
    };
    const deleteAt = Math.ceil(cluster.node('lngs').env.clock.wallMicros() / 1e6) + 1;
    const change = { user: {}, system: {}, deleteAt };
    const posting = cluster.proxy.updateObject(cluster.operation(), objectName('x'), change);
    expect(await rejectedCode(cluster.run(posting))).toBe('undecided');
    const { groups } = cluster.entryAt('lngs', 'x')!.state;
    expect(groups['system']?.values['delete-at']).toBe(String(deleteAt));
    expect(await get(cluster, 'x')).toBeUndefined();
  });

  it('never makes a deletion "no container" whose first attempt may have emptied that (seed 3000324)', async () => {
    const cluster = await TestCluster.startWithContainer();
    await put(cluster, 'x', Buffer.from('deleted, and its container'));
    const device = cluster.device('lngs');
    const write = device.write.bind(device);
    device.write = (request) => {
      device.write = write;
      cluster.publishRings(3, { except: 'lngs' });
      return write(request);
    };
    const { account, container } = objectName('x');
    const deleting = cluster.proxy.deleteObject(cluster.operation(), objectName('x'));
    const others = async (): Promise<void> => {
      await cluster.node('bari').env.clock.sleep(500);
      const { proxy } = cluster.node('bari');
      await proxy.deleteObject(cluster.operation(), objectName('x'));
      expect(await proxy.deleteContainer(cluster.operation(), { account, container })).toBe(
        'deleted',
      );
      cluster.publishRings(3);
    };
    const told = rejectedCode(deleting);
    await cluster.run(others());
    expect(await cluster.run(told)).toBe('undecided');
  });
});

describe('a deletion that was cut off and is sent again', () => {
  it('is not "not found" where only who is away knows what was there (seed 3000901)', async () => {
    const cluster = await TestCluster.startWithContainer();
    cluster.kill('bari');
    await put(cluster, 'x', Buffer.from('acknowledged by the others'));
    cluster.kill('padova');
    await cluster.world.runFor(3_000);
    const deleting = cluster.proxy.deleteObject(cluster.operation(), objectName('x'));
    await cluster.world.runFor(300);
    await cluster.restart('bari');
    expect(await cluster.run(deleting)).toBe('deleted');
    expect(await get(cluster, 'x')).toBeUndefined();
  });
});
