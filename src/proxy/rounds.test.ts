/** Conditional writes as clients of several proxies see them. The checkers of test/sim do the rest. */
import { describe, expect, it } from 'vitest';
import { codeOf } from '#base/errors.ts';
import { both, type Condition, IF_ABSENT, IF_PRESENT, ifMatch } from './condition.ts';
import type { PutRequest } from './contract.ts';
import {
  collect,
  objectName,
  patternBytes,
  putRequest,
  TestCluster,
} from './testing/test-cluster.ts';

const NODES = ['lngs', 'bari', 'padova'] as const;
const LARGE = patternBytes(2_500_000);

interface PutOptions extends Partial<PutRequest> {
  readonly via?: string;
}

function put(
  cluster: TestCluster,
  object: string,
  text: string | Buffer,
  options: PutOptions = {},
) {
  const { via = 'lngs', ...request } = options;
  const { proxy } = cluster.node(via);
  return proxy.putObject(
    cluster.operation(),
    objectName(object),
    putRequest(Buffer.from(text), request),
  );
}

async function read(
  cluster: TestCluster,
  object: string,
  via = 'lngs',
): Promise<string | undefined> {
  const operation = cluster.operation({ read: 'newest' });
  const reader = await cluster.node(via).proxy.openObject(operation, objectName(object));
  return reader && (await collect(reader.read(0, reader.length))).toString();
}

function remove(cluster: TestCluster, object: string, condition?: Condition, via = 'lngs') {
  return cluster.node(via).proxy.deleteObject(cluster.operation(), objectName(object), condition);
}

async function etagOf(cluster: TestCluster, object: string): Promise<string> {
  const operation = cluster.operation({ read: 'newest' });
  return (await cluster.proxy.statObject(operation, objectName(object)))!.data!.etag;
}

function tally(results: readonly { kind: string }[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { kind } of results) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}

describe('a write on a condition', () => {
  it.each([
    ['small', 'body'],
    ['empty', ''],
    ['large', LARGE.toString('latin1')],
  ])('of a %s body is stored while it holds, and is listed', async (_size, body) => {
    const cluster = await TestCluster.startWithContainer();
    await cluster.run(
      (async () => {
        const once = { condition: IF_ABSENT };
        expect((await put(cluster, 'x', body, once)).kind).toBe('stored');
        expect((await put(cluster, 'x', 'other', once)).kind).toBe('precondition-failed');
        const next = { condition: ifMatch(await etagOf(cluster, 'x')), via: 'bari' };
        expect((await put(cluster, 'x', `${body}!`, next)).kind).toBe('stored');
        expect((await put(cluster, 'x', 'other', next)).kind).toBe('precondition-failed');
        expect(await read(cluster, 'x', 'padova')).toBe(`${body}!`);
        const page = await cluster.proxy.listObjects(
          cluster.operation(),
          { account: 'AUTH_test', container: 'box' },
          { limit: 10 },
        );
        expect(page?.items.map((item) => 'name' in item && item.name)).toEqual(['x']);
      })(),
    );
  });

  it.each([
    ['small', 'body'],
    ['large', LARGE],
  ])(
    'of a %s body is told of the deletion before it, also before the body is sent',
    async (_size, body) => {
      const cluster = await TestCluster.startWithContainer();
      await cluster.run(
        (async () => {
          await put(cluster, 'x', 'first');
          await remove(cluster, 'x');
          const kinds = new Set<string | undefined>();
          const condition: Condition = {
            holds: (current, known) => {
              kinds.add(known?.data?.kind);
              return current === undefined;
            },
          };
          expect((await put(cluster, 'x', body, { condition })).kind).toBe('stored');
          expect([...kinds]).toEqual(['deleted']);
        })(),
      );
    },
  );

  it('that does not hold tells so, whatever is asked for', async () => {
    const cluster = await TestCluster.startWithContainer();
    await cluster.run(
      (async () => {
        for (const condition of [IF_PRESENT, ifMatch('x'), both(IF_ABSENT, IF_PRESENT)]) {
          expect((await put(cluster, 'x', 'body', { condition })).kind).toBe('precondition-failed');
          expect(await remove(cluster, 'x', condition)).toBe('precondition-failed');
        }
        expect(cluster.entryAt('lngs', 'x')).toBeUndefined();
        await put(cluster, 'x', 'body');
        expect(await remove(cluster, 'x', ifMatch('other'))).toBe('precondition-failed');
        expect(await remove(cluster, 'x', ifMatch(await etagOf(cluster, 'x')))).toBe('deleted');
        expect(await remove(cluster, 'x', IF_ABSENT)).toBe('not-found');
      })(),
    );
  });

  it.each([1, 2, 3, 4, 5])(
    'is won by exactly one of fifty at three sites, seed %i',
    async (seed) => {
      const cluster = await TestCluster.startWithContainer({ seed });
      const race = async (): Promise<void> => {
        for (let turn = 0; turn < 3; turn++) {
          const writers = Array.from({ length: 50 }, (_, i) => {
            const via = NODES[i % 3]!;
            return put(cluster, 'lock', `writer ${i}`, { condition: IF_ABSENT, via });
          });
          const results = await Promise.all(writers);
          expect(tally(results)).toEqual({ stored: 1, 'precondition-failed': 49 });
          const winner = results.findIndex(({ kind }) => kind === 'stored');
          expect(await read(cluster, 'lock', NODES[turn % 3])).toBe(`writer ${winner}`);
          expect(await remove(cluster, 'lock', undefined, NODES[winner % 3])).toBe('deleted');
        }
      };
      await cluster.run(race());
    },
  );

  it.each([1, 2, 3])(
    'loses no increment of a counter that many raise at once, seed %i',
    async (seed) => {
      const cluster = await TestCluster.startWithContainer({ seed });
      let undecided = 0;
      const raise = async (via: string): Promise<void> => {
        for (let tries = 0; tries < 100; tries++) {
          const operation = cluster.operation({ read: 'newest' });
          const reader = await cluster.node(via).proxy.openObject(operation, objectName('n'));
          const condition = reader ? ifMatch(reader.state.data!.etag) : IF_ABSENT;
          const count = reader
            ? Number((await collect(reader.read(0, reader.length))).toString())
            : 0;
          const write = put(cluster, 'n', String(count + 1), { condition, via });
          const outcome = await write.then(({ kind }) => kind, codeOf);
          if (outcome === 'stored') return;
          // It may have taken effect, or not: this client does not know.
          if (outcome === 'undecided') undecided++;
          else expect(outcome).toBe('precondition-failed');
        }
        throw new Error('never');
      };
      await cluster.run(Promise.all(Array.from({ length: 12 }, (_, i) => raise(NODES[i % 3]!))));
      const count = Number(await cluster.run(read(cluster, 'n')));
      expect(count).toBeGreaterThanOrEqual(12);
      expect(count).toBeLessThanOrEqual(12 + undecided);
    },
  );

  it('needs a majority of primaries, and no stand-in counts', async () => {
    const cluster = await TestCluster.startWithContainer({ sites: [...NODES, 'lngs-2'] });
    cluster.kill('bari');
    const one = put(cluster, 'x', 'body', { condition: IF_ABSENT });
    expect((await cluster.run(one)).kind).toBe('stored');
    cluster.kill('padova');
    const none = put(cluster, 'y', 'body', { condition: IF_ABSENT });
    expect(await cluster.run(none.then(() => 'stored', codeOf))).toBe('unavailable');
  });

  it('is refused in a container that is not strict, unless a weaker promise is enough', async () => {
    const cluster = await TestCluster.start();
    await cluster.createContainer('available');
    const refused = put(cluster, 'x', 'body', { condition: IF_ABSENT });
    expect(await cluster.run(refused.then(() => 'stored', codeOf))).toBe('not-strict');
    const condition = { ...IF_ABSENT, weakly: true };
    expect((await cluster.run(put(cluster, 'x', 'body', { condition }))).kind).toBe('stored');
    const again = await cluster.run(put(cluster, 'x', 'body', { condition }));
    expect(again.kind).toBe('precondition-failed');
    expect(await cluster.run(remove(cluster, 'x', IF_ABSENT).then(String, codeOf))).toBe(
      'not-strict',
    );
  });
});

describe('after a conditional write', () => {
  it('plain writes, metadata and deletions go through the rounds, and bodies stay', async () => {
    const cluster = await TestCluster.startWithContainer();
    await cluster.run(
      (async () => {
        for (const [name, body] of [
          ['small', 'body'],
          ['large', LARGE.toString('latin1')],
        ] as const) {
          await put(cluster, name, body, { condition: IF_ABSENT });
          const change = { user: { 'x-object-meta-a': '1' }, system: {}, deleteAt: null };
          const operation = cluster.operation();
          const posted = cluster.proxy.updateObject(operation, objectName(name), change);
          expect(await posted).toBe('updated');
          const tags = cluster.proxy.updateGroups(operation, objectName(name), {
            tags: { b: '2' },
          });
          expect(await tags).toBe('updated');
          expect(await read(cluster, name, 'bari')).toBe(body);
          const state = await cluster.proxy.statObject(operation, objectName(name));
          expect(state?.groups['user']?.values).toEqual({ 'x-object-meta-a': '1' });
          expect(state?.groups['tags']?.values).toEqual({ b: '2' });
          expect(state?.data?.base).toBeDefined();
          expect((await put(cluster, name, 'plain', { via: 'padova' })).kind).toBe('stored');
          expect(await read(cluster, name)).toBe('plain');
          expect(await remove(cluster, name)).toBe('deleted');
          expect(await remove(cluster, name)).toBe('not-found');
          expect(await read(cluster, name, 'bari')).toBeUndefined();
        }
      })(),
    );
  });

  it('a body is kept where only one replica of a majority has it: the others fetch it first', async () => {
    const cluster = await TestCluster.startWithContainer();
    await cluster.run(
      (async () => {
        await put(cluster, 'x', LARGE, { condition: IF_ABSENT });
        await cluster.node('lngs').env.clock.sleep(1_000);
        const change = { user: {}, system: {}, deleteAt: null };
        await cluster.proxy.updateObject(cluster.operation(), objectName('x'), change);
        await cluster.node('lngs').env.clock.sleep(1_000);
        for (const node of NODES) expect(cluster.entryAt(node, 'x')?.hasBody).toBe(true);
      })(),
    );
  });
});

describe('a newest read', () => {
  it('settles what was accepted by one replica alone', async () => {
    const cluster = await TestCluster.startWithContainer();
    await cluster.run(
      (async () => {
        await put(cluster, 'x', 'first');
        await cluster.node('lngs').env.clock.sleep(1_000);
        // One replica knows a record that no majority has accepted.
        const { key, path, state } = cluster.entryAt('bari', 'x')!;
        const at = cluster.node('bari').clock.now();
        const body = Buffer.from('second');
        const data = {
          ...state.data!,
          timestamp: at,
          writeId: 'ab'.repeat(8),
          base: state.data!.timestamp,
        };
        const record = {
          data: { ...data, size: body.length, body: { length: body.length } },
          groups: {},
        };
        const write = { key, path, state: record, body, unlisted: true, intent: 'join' } as const;
        await cluster.device('bari').write(write);
        const seen: (string | undefined)[] = [];
        for (const via of [...NODES, ...NODES]) seen.push(await read(cluster, 'x', via));
        // Old, then new; never the other way round.
        expect(seen.at(-1)).toBe('second');
        expect(seen.slice(seen.indexOf('second')).every((text) => text === 'second')).toBe(true);
      })(),
    );
  });
});
