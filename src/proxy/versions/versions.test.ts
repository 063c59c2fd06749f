/** Versions against a model, on a whole cluster in one process: first one writer, then several and crashes. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { codeOf } from '#base/errors.ts';
import { userAccount } from '#base/names.ts';
import { usageOf } from '../account-usage.ts';
import type { Operation, PutRequest } from '../contract.ts';
import {
  CONTAINER,
  collect,
  objectName,
  putRequest,
  TestCluster,
  type TestClusterOptions,
} from '../testing/test-cluster.ts';
import {
  type ListedVersion,
  VERSIONING_HEADER,
  type VersionedStore,
  type Versioning,
} from './contract.ts';
import { NULL_VERSION } from './names.ts';
import { withVersions } from './versions.ts';

const NOTHING = Buffer.alloc(0);
const NODES = ['lngs', 'bari', 'padova'] as const;

let cluster: TestCluster;

async function start(options: TestClusterOptions = {}): Promise<void> {
  cluster = await TestCluster.start({ realRows: true, ...options });
  await cluster.createContainer();
}

function at(node: string = 'lngs'): VersionedStore {
  const { proxy, env } = cluster.node(node);
  return withVersions(proxy, env);
}

function quorum(overrides: Partial<Operation> = {}): Operation {
  return cluster.operation(overrides);
}

/** All proxies know of it at once: what they have cached is older than two seconds. */
async function setVersioning(state: Versioning): Promise<void> {
  await cluster.run(
    cluster.proxy.updateContainer(quorum(), CONTAINER, { [VERSIONING_HEADER]: state }),
  );
  await cluster.run(cluster.node('lngs').env.clock.sleep(3_000));
}

function put(key: string, text: string, request: Partial<PutRequest> = {}, node?: string) {
  const body = putRequest(Buffer.from(text), request);
  return at(node).putObject(quorum(), objectName(key), body);
}

function remove(key: string, version?: string, node?: string) {
  const name = { ...objectName(key), ...(version !== undefined && { version }) };
  return at(node).removeObject(quorum(), name);
}

async function read(key: string, version?: string, node?: string): Promise<string | undefined> {
  const name = { ...objectName(key), ...(version !== undefined && { version }) };
  const reader = await at(node).openObject(quorum(), name);
  return reader && (await collect(reader.read(0, reader.length))).toString();
}

async function versions(node?: string): Promise<ListedVersion[]> {
  const page = await at(node).listVersions(quorum(), CONTAINER, { limit: 1000 });
  return page!.items.filter((item) => !('prefix' in item)) as ListedVersion[];
}

async function names(node = 'lngs'): Promise<string[]> {
  const page = await cluster.node(node).proxy.listObjects(quorum(), CONTAINER, { limit: 1000 });
  return page!.items.map((item) => ('prefix' in item ? item.prefix : item.name));
}

interface ModelVersion {
  readonly id: string;
  /** Undefined: a delete marker. */
  readonly text: string | undefined;
}

/** One writer's bucket. Versions of a key, the newest first. */
class Model {
  readonly keys = new Map<string, ModelVersion[]>();
  versioning: Versioning | undefined;

  of(key: string): ModelVersion[] {
    return this.keys.get(key) ?? [];
  }

  add(key: string, id: string, text: string | undefined): void {
    const others = this.of(key).filter((version) => version.id !== id);
    this.keys.set(key, [{ id, text }, ...others]);
  }

  drop(key: string, id: string): void {
    this.keys.set(
      key,
      this.of(key).filter((version) => version.id !== id),
    );
  }

  listed(): { key: string; id: string; latest: boolean; marker: boolean }[] {
    return [...this.keys]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .flatMap(([key, all]) =>
        all.map(({ id, text }, i) => ({ key, id, latest: i === 0, marker: text === undefined })),
      );
  }

  names(): string[] {
    return [...this.keys.keys()].filter((key) => this.of(key)[0]?.text !== undefined).sort();
  }
}

type Step =
  | { readonly kind: 'put'; readonly key: string }
  | { readonly kind: 'delete'; readonly key: string }
  | { readonly kind: 'delete-version'; readonly key: string; readonly pick: number }
  | { readonly kind: 'versioning'; readonly state: Versioning };

const key = fc.constantFrom('a', 'a!', 'b/c');
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('put' as const), key }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('delete' as const), key }) },
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant('delete-version' as const), key, pick: fc.nat(5) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('versioning' as const),
      state: fc.constantFrom<Versioning>('Enabled', 'Suspended'),
    }),
  },
);

async function play(model: Model, steps: readonly Step[]): Promise<void> {
  let count = 0;
  for (const one of steps) {
    count += 1;
    const node = NODES[count % NODES.length];
    if (one.kind === 'versioning') {
      await setVersioning(one.state);
      model.versioning = one.state;
    } else if (one.kind === 'put') {
      const text = `text ${count}`;
      const result = await cluster.run(put(one.key, text, {}, node));
      model.add(one.key, result.versionId ?? NULL_VERSION, text);
    } else if (one.kind === 'delete') {
      const result = await cluster.run(remove(one.key, undefined, node));
      if (model.versioning === undefined) model.drop(one.key, NULL_VERSION);
      else model.add(one.key, result.versionId!, undefined);
    } else {
      const found = model.of(one.key)[one.pick];
      if (found === undefined) continue;
      await cluster.run(remove(one.key, found.id, node));
      model.drop(one.key, found.id);
    }
  }
}

describe('versions of one writer', () => {
  it('are what a model says, whatever is put, deleted and deleted by version, and when it is switched', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 8, maxLength: 24 }), async (steps) => {
        await start({ skewMs: { bari: -2_000, padova: 3_000 } });
        const model = new Model();
        await play(model, [{ kind: 'put', key: 'a' }, ...steps]);
        const shown = (await cluster.run(versions('bari'))).map((version) => ({
          key: version.key,
          id: version.versionId,
          latest: version.isLatest,
          marker: version.isMarker,
        }));
        expect(shown).toEqual(model.listed());
        expect(await cluster.run(names('padova'))).toEqual(model.names());
        for (const [name, all] of model.keys) {
          expect(await cluster.run(read(name))).toBe(all[0]?.text);
          for (const { id, text } of all) {
            if (text !== undefined) expect(await cluster.run(read(name, id, 'bari'))).toBe(text);
          }
        }
      }),
      { numRuns: 12 },
    );
  });
});

describe("an account's quota", () => {
  it('counts all versions', async () => {
    await start({ runJobs: true });
    await setVersioning('Enabled');
    const quota = { 'x-account-meta-quota-bytes': '20' };
    const { account } = CONTAINER;
    await cluster.run(cluster.proxy.updateAccount(quorum(), account, quota));
    // Totals of accounts come in after seconds, and are asked for by writes.
    const settle = () => cluster.run(cluster.node('lngs').env.clock.sleep(6_000));
    await cluster.run(put('a', '8 bytes.'));
    await cluster.run(put('a', '8 bytes!'));
    for (let i = 0; i < 2; i++) {
      await settle();
      await cluster.run(put('look', ''));
    }
    await settle();
    expect(await cluster.run(put('a', '8 bytes?').catch(codeOf))).toBe('quota-exceeded');
    expect(await cluster.run(put('a', '4 b.').then(({ kind }) => kind, codeOf))).toBe('stored');
    const operation = quorum();
    const totals = await cluster.run(cluster.proxy.accountInfo(operation, account));
    const used = await cluster.run(
      usageOf(account, totals, (of, query) => cluster.proxy.listContainers(operation, of, query)),
    );
    expect(totals.bytes).toBeLessThan(16);
    expect(used.bytes).toBeGreaterThanOrEqual(16);
  });
});

describe("a user's quota", () => {
  it('counts all versions that the user wrote, until they are deleted', async () => {
    await start({ runJobs: true });
    await setVersioning('Enabled');
    const anna = 'a'.repeat(32);
    const account = userAccount(anna);
    const quota = { 'x-account-meta-quota-bytes': '20' };
    await cluster.run(cluster.proxy.updateAccount(quorum(), account, quota));
    const write = (text: string, user: string) => {
      const body = putRequest(Buffer.from(text));
      return cluster.run(at().putObject(quorum({ user }), objectName('a'), body));
    };
    const held = async (): Promise<number> => {
      for (let i = 0; i < 2; i++) {
        await cluster.run(cluster.node('lngs').env.clock.sleep(6_000));
        await cluster.run(
          at().putObject(quorum({ user: anna }), objectName('look'), putRequest(NOTHING)),
        );
      }
      await cluster.run(cluster.node('lngs').env.clock.sleep(6_000));
      return (await cluster.run(cluster.proxy.accountInfo(quorum(), account))).bytes;
    };
    const { versionId: first } = await write('8 bytes.', anna);
    await write('8 bytes!', anna);
    await write('8 bytes?', 'b'.repeat(32));
    await cluster.run(remove('a'));
    expect(await held()).toBe(16);
    expect(await write('8 bytes,', anna).catch(codeOf)).toBe('quota-exceeded');
    expect(await cluster.run(remove('a', first))).toMatchObject({ kind: 'deleted' });
    expect(await held()).toBe(8);
    expect(await write('8 bytes,', anna).then(({ kind }) => kind, codeOf)).toBe('stored');
  });
});

describe("a container's quota", () => {
  it('counts all versions, and stops nobody from deleting them', async () => {
    await start();
    await setVersioning('Enabled');
    const quota = (bytes: number) => ({ 'x-container-meta-quota-bytes': String(bytes) });
    await cluster.run(cluster.proxy.updateContainer(quorum(), CONTAINER, quota(20)));
    const { versionId } = await cluster.run(put('a', '8 bytes.'));
    await cluster.run(put('a', '8 bytes!'));
    const refused = await cluster.run(put('a', '8 bytes?').catch(codeOf));
    expect(refused).toBe('quota-exceeded');
    await cluster.run(cluster.proxy.updateContainer(quorum(), CONTAINER, quota(1)));
    await cluster.run(cluster.node('lngs').env.clock.sleep(3_000));
    const { versionId: marker } = await cluster.run(remove('a'));
    expect(await cluster.run(remove('a', marker))).toMatchObject({ deleteMarker: true });
    expect(await cluster.run(read('a'))).toBe('8 bytes!');
    expect(await cluster.run(remove('a', versionId))).toMatchObject({ kind: 'deleted' });
  });
});
