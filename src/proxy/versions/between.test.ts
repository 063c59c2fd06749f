/** Two who change the versions of one name at once: what the one does between two steps of the other. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { OperatingError } from '#base/errors.ts';
import type { ObjectName } from '#base/names.ts';
import type { Operation, PutRequest, Store } from '../contract.ts';
import {
  CONTAINER,
  collect,
  objectName,
  putRequest,
  TestCluster,
} from '../testing/test-cluster.ts';
import {
  type ListedVersion,
  VERSIONING_HEADER,
  type VersionedStore,
  type Versioning,
} from './contract.ts';
import { NULL_VERSION, parseVersionId, VERSIONS_ACCOUNT } from './names.ts';
import { withVersions } from './versions.ts';

const KEY = 'a';
type Node = 'lngs' | 'bari' | 'padova';

let cluster: TestCluster;

beforeEach(async () => {
  cluster = await TestCluster.start({ realRows: true });
  await cluster.createContainer();
});

afterEach(() => {
  cluster.world.dispose();
});

/** What happens before a step of somebody else, once. */
type Before = (name: ObjectName, request?: PutRequest) => Promise<void> | undefined;

/** A store through which somebody's step waits until something else has happened. */
function at(node: Node, before: Partial<Record<keyof Store, Before>> = {}): VersionedStore {
  const { proxy, env } = cluster.node(node);
  const gated = new Proxy<Store>(proxy, {
    get: (target, method: keyof Store) => {
      const call = Reflect.get(target, method) as (...args: unknown[]) => Promise<unknown>;
      return async (...args: unknown[]) => {
        const waits = before[method]?.(args[1] as ObjectName, args[2] as PutRequest);
        if (waits !== undefined) {
          delete before[method];
          await waits;
        }
        return await call.apply(target, args);
      };
    },
  });
  return withVersions(gated, env);
}

async function turn(state: Versioning): Promise<void> {
  await cluster.proxy.updateContainer(cluster.operation(), CONTAINER, {
    [VERSIONING_HEADER]: state,
  });
  await cluster.node('lngs').env.clock.sleep(3_000);
}

async function put(store: VersionedStore, text: string): Promise<string> {
  const request = putRequest(Buffer.from(text));
  const { kind, versionId } = await store.putObject(cluster.operation(), objectName(KEY), request);
  expect(kind).toBe('stored');
  return versionId!;
}

function remove(store: VersionedStore, version?: string) {
  const name = { ...objectName(KEY), ...(version !== undefined && { version }) };
  return store.removeObject(cluster.operation(), name);
}

async function read(version?: string): Promise<string | undefined> {
  const name = { ...objectName(KEY), ...(version !== undefined && { version }) };
  const reader = await at('bari').openObject(cluster.operation(), name);
  return reader && (await collect(reader.read(0, reader.length))).toString();
}

async function list(): Promise<Pick<ListedVersion, 'versionId' | 'isLatest' | 'isMarker'>[]> {
  const page = await at('bari').listVersions(cluster.operation(), CONTAINER, { limit: 100 });
  return (page!.items as ListedVersion[]).map(({ versionId, isLatest, isMarker }) => {
    return { versionId, isLatest, isMarker };
  });
}

function isKept({ account }: ObjectName): boolean {
  return account === VERSIONS_ACCOUNT;
}

const BROKEN_OFF = { code: 'unavailable' };

async function breakOff(): Promise<void> {
  throw new OperatingError('unavailable', 'the proxy died here');
}

describe('between two steps', () => {
  it('a null version makes room, and its writer does not forget it for the one before', async () => {
    await cluster.run(
      (async () => {
        await turn('Suspended');
        const store = at('lngs', {
          peekObject: (name) =>
            isKept(name)
              ? (async () => {
                  await turn('Enabled');
                  await put(at('bari'), 'version');
                })()
              : undefined,
        });
        expect(await put(store, 'null')).toBe(NULL_VERSION);
        expect(await read(NULL_VERSION)).toBe('null');
        expect(await read()).toBe('version');
        expect((await list()).length).toBe(2);
      })(),
    );
  });

  it('a null version comes after a null delete marker, makes room, and is not hidden by it', async () => {
    await cluster.run(
      (async () => {
        await turn('Suspended');
        await put(at('lngs'), 'first');
        const store = at('lngs', {
          putObject: (name) =>
            isKept(name)
              ? (async () => {
                  await put(at('bari'), 'second');
                  await turn('Enabled');
                  await put(at('padova'), 'version');
                })()
              : undefined,
        });
        expect(await remove(store)).toMatchObject({ kind: 'deleted', deleteMarker: true });
        expect(await read(NULL_VERSION)).toBe('second');
        expect(await read()).toBe('version');
      })(),
    );
  });

  it('a null delete marker is deleted while it is made, and does not return', async () => {
    await cluster.run(
      (async () => {
        await turn('Enabled');
        const id = await put(at('lngs'), 'version');
        await turn('Suspended');
        const store = at('lngs', {
          putObject: (name) =>
            isKept(name)
              ? (async () => {
                  await remove(at('bari'), NULL_VERSION);
                })()
              : undefined,
        });
        await remove(store);
        expect(await list()).toEqual([{ versionId: id, isLatest: true, isMarker: false }]);
        const kept = { ...objectName(KEY), version: NULL_VERSION };
        expect(await at('padova').statObject(cluster.operation(), kept)).toBeUndefined();
      })(),
    );
  });

  it('a null delete marker is listed, whatever was broken off after it (seed 108)', async () => {
    await cluster.run(
      (async () => {
        await turn('Suspended');
        await put(at('lngs'), 'null');
        await remove(at('lngs'));
        await turn('Enabled');
        const store = at('padova', {
          putObject: (name) => (isKept(name) ? undefined : breakOff()),
        });
        await expect(put(store, 'half')).rejects.toMatchObject(BROKEN_OFF);
        expect(await list()).toEqual([{ versionId: NULL_VERSION, isLatest: true, isMarker: true }]);
        expect(await read()).toBeUndefined();
      })(),
    );
  });

  it('a version that gave way to a newer one is current when that one is deleted at once', async () => {
    await cluster.run(
      (async () => {
        await turn('Enabled');
        await put(at('lngs'), 'oldest');
        const newest = await put(at('lngs'), 'newest');
        const { clientMicros } = parseVersionId(newest)!;
        const slow = at('padova', {
          putObject: (name, request) => {
            // From a clock that is behind, by somebody who had looked before the newest was written.
            if (isKept(name)) Object.assign(request!, { clientMicros: clientMicros - 1 });
            return undefined;
          },
        });
        let id = '';
        const deleter = at('bari', {
          putObject: (name) =>
            isKept(name)
              ? undefined
              : put(slow, 'middle').then((told) => {
                  id = told;
                }),
        });
        expect(await remove(deleter, newest)).toMatchObject({ kind: 'deleted' });
        expect(await read()).toBe('middle');
        expect((await list())[0]).toEqual({ versionId: id, isLatest: true, isMarker: false });
        expect((await list()).length).toBe(2);
      })(),
    );
  });

  it.each([
    ['a delete marker', 'Enabled', (name: ObjectName) => !isKept(name)],
    ['a null delete marker', 'Suspended', isKept],
  ] as const)('%s is half made or half deleted, and who asks mends it', async (_, state, step) => {
    await cluster.run(
      (async () => {
        await turn('Enabled');
        const id = await put(at('lngs'), 'version');
        await turn(state);
        const isSuspended = state === 'Suspended';
        // The deletion of the one is broken off, and the making of the other.
        const { versionId } = isSuspended ? { versionId: undefined } : await remove(at('lngs'));
        const broken = (name: ObjectName) => (step(name) ? breakOff() : undefined);
        const store = at('padova', isSuspended ? { putObject: broken } : { peekObject: broken });
        await expect(remove(store, versionId)).rejects.toMatchObject(BROKEN_OFF);
        expect(await read()).toBeUndefined();
        const marker = await at('bari').markerOf(cluster.operation(), objectName(KEY));
        expect(marker?.versionId).toBe(isSuspended ? NULL_VERSION : undefined);
        expect(await read()).toBe(isSuspended ? undefined : 'version');
        const shown = { versionId: id, isLatest: !isSuspended, isMarker: false };
        const hides = { versionId: NULL_VERSION, isLatest: true, isMarker: true };
        expect(await list()).toEqual(isSuspended ? [hides, shown] : [shown]);
      })(),
    );
  });

  it('the tombstone of a hidden name is forgotten, and its marker is the latest (seed 102)', async () => {
    await cluster.run(
      (async () => {
        await turn('Enabled');
        const id = await put(at('lngs'), 'version');
        const { versionId } = await remove(at('lngs'));
        const store = at('padova', {
          putObject: (name) => (isKept(name) ? undefined : breakOff()),
        });
        await expect(put(store, 'half')).rejects.toMatchObject(BROKEN_OFF);
        const { proxy, env } = cluster.node('bari');
        const forgetful = new Proxy<Store>(proxy, {
          get: (target, method: keyof Store) =>
            method === 'peekObject' ? async () => undefined : Reflect.get(target, method),
        });
        const without = withVersions(forgetful, env);
        const page = await without.listVersions(cluster.operation(), CONTAINER, { limit: 100 });
        const shown = (page!.items as ListedVersion[]).map((version) => {
          return { id: version.versionId, isLatest: version.isLatest };
        });
        expect(shown).toEqual([
          { id: versionId, isLatest: true },
          { id, isLatest: false },
        ]);
      })(),
    );
  });

  it('a version that a majority does not know, and listings do, is deleted (seed 126)', async () => {
    await cluster.run(
      (async () => {
        await turn('Enabled');
        const id = await put(at('lngs'), 'version');
        const { proxy, env } = cluster.node('bari');
        const unknowing = new Proxy<Store>(proxy, {
          get: (target, method: keyof Store) =>
            method === 'statObject' ? async () => undefined : Reflect.get(target, method),
        });
        expect(await remove(withVersions(unknowing, env), id)).toEqual({ kind: 'not-found' });
        expect(await list()).toEqual([]);
        expect(await read(id)).toBeUndefined();
      })(),
    );
  });

  it('the first version of all makes room while the null version is deleted, which stays deleted (seed 122)', async () => {
    await cluster.run(
      (async () => {
        await put(at('lngs'), 'null');
        await turn('Enabled');
        const store = at('lngs', {
          createContainer: ({ account }) =>
            account === VERSIONS_ACCOUNT
              ? remove(at('bari'), NULL_VERSION).then(({ kind }) => expect(kind).toBe('deleted'))
              : undefined,
        });
        const id = await put(store, 'version');
        expect(await list()).toEqual([{ versionId: id, isLatest: true, isMarker: false }]);
        expect(await read(NULL_VERSION)).toBeUndefined();
      })(),
    );
  });

  it('a null version that no read can settle, as nobody has its bytes, is deleted (seed 127)', async () => {
    await cluster.run(
      (async () => {
        await turn('Suspended');
        await put(at('lngs'), 'null');
        const { proxy, env } = cluster.node('bari');
        const unsettled = new Proxy<Store>(proxy, {
          get: (target, method: keyof Store) => {
            if (method !== 'peekObject') return Reflect.get(target, method);
            return async (operation: Operation, name: ObjectName) => {
              if (operation.read === 'newest') await breakOff();
              return await target.peekObject(operation, name);
            };
          },
        });
        const removal = remove(withVersions(unsettled, env), NULL_VERSION);
        expect(await removal).toMatchObject({ kind: 'deleted', versionId: NULL_VERSION });
        expect(await list()).toEqual([]);
      })(),
    );
  });

  it('a null version too large for one call makes room where another was deleted (seed 366)', async () => {
    await cluster.run(
      (async () => {
        await turn('Suspended');
        await put(at('lngs'), 'first');
        expect(await remove(at('bari'), NULL_VERSION)).toMatchObject({ kind: 'deleted' });
        const large = 'second'.repeat(50_000);
        await put(at('lngs'), large);
        await turn('Enabled');
        const id = await put(at('padova'), 'version');
        expect(await read()).toBe('version');
        expect(await read(NULL_VERSION)).toBe(large);
        expect((await list()).map(({ versionId }) => versionId)).toEqual([id, NULL_VERSION]);
      })(),
    );
  });

  it('a null version makes room where one replica alone still knows a tombstone', async () => {
    await cluster.run(
      (async () => {
        await put(at('lngs'), 'null');
        await remove(at('lngs'));
        const tombstone = await cluster.proxy.peekObject(cluster.operation(), objectName(KEY));
        expect(tombstone?.data?.kind).toBe('deleted');
        await put(at('lngs'), 'null');
        await turn('Enabled');
        const { proxy, env } = cluster.node('bari');
        const remembers = new Proxy<Store>(proxy, {
          get: (target, method: keyof Store) => {
            if (method !== 'peekObject') return Reflect.get(target, method);
            return async (operation: Operation, name: ObjectName) =>
              isKept(name) ? tombstone : await target.peekObject(operation, name);
          },
        });
        await put(withVersions(remembers, env), 'version');
        expect(await read()).toBe('version');
        expect(await read(NULL_VERSION)).toBe('null');
      })(),
    );
  });

  it('a deletion is broken off, and what is left of it does not keep the container (seed 117)', async () => {
    await cluster.run(
      (async () => {
        await turn('Enabled');
        const id = await put(at('lngs'), 'version');
        const store = at('lngs', {
          peekObject: (name) => (isKept(name) ? undefined : breakOff()),
        });
        await expect(remove(store, id)).rejects.toMatchObject(BROKEN_OFF);
        expect(await list()).toEqual([]);
        const told = await at('bari').deleteContainer(cluster.operation(), CONTAINER);
        expect(told).toBe('deleted');
      })(),
    );
  });
});
