import { describe, expect, it } from 'vitest';
import { codeOf } from '#base/errors.ts';
import { userAccount } from '#base/names.ts';
import { type Upload, Uploads } from './multipart/uploads.ts';
import { CONTAINER, objectName, putRequest, TestCluster } from './testing/test-cluster.ts';

const SECONDS = 6;

async function startWith(quota: Record<string, string>) {
  const cluster = await TestCluster.start({ realRows: true, runJobs: true });
  await cluster.createContainer();
  const { proxy, world } = cluster;
  await cluster.run(proxy.updateAccount(cluster.operation(), CONTAINER.account, quota));
  /** The account's totals come in and are asked for again. */
  const wait = () => cluster.run(world.machine('lngs').env.clock.sleep(SECONDS * 1000));
  const put = async (name: string, bytes: number): Promise<string> => {
    const request = putRequest(Buffer.alloc(bytes, 1));
    const stored = proxy.putObject(cluster.operation(), objectName(name), request);
    return cluster.run(stored.then(({ kind }) => kind, codeOf));
  };
  /** As often as it takes until what the proxy knows is new. */
  const settled = async (name: string, bytes: number): Promise<string> => {
    await put('look', 0);
    await wait();
    await put('look', 0);
    await wait();
    return put(name, bytes);
  };
  return { cluster, put, settled };
}

function uploadsOf({ proxy, world }: TestCluster): Uploads {
  return new Uploads(proxy, world.machine('lngs').env);
}

function beginUpload(cluster: TestCluster, user?: string): Promise<Upload> {
  const begun = uploadsOf(cluster).begin({ ...cluster.operation(), user }, CONTAINER, {
    ...{ key: 'parts', contentType: 'text/plain', user: {}, system: {}, groups: {} },
    ...{ algorithm: 'crc64nvme', checksumType: 'FULL_OBJECT', asked: false },
    initiator: user ?? '',
  });
  return cluster.run(begun);
}

async function complete(cluster: TestCluster, upload: Upload, user?: string): Promise<string> {
  const uploads = uploadsOf(cluster);
  const parts = await cluster.run(uploads.parts(cluster.operation(), upload));
  const whole = { parts, etag: `e-${parts.length}`, checksums: {} };
  const done = uploads.complete({ ...cluster.operation(), user }, upload, whole);
  return cluster.run(done.then(({ kind }) => kind, codeOf));
}

function abort(cluster: TestCluster, upload: Upload): Promise<string> {
  return cluster.run(uploadsOf(cluster).abort(cluster.operation(), upload));
}

async function putPart(
  cluster: TestCluster,
  bytes: number,
  { user, number = 1, upload }: { user?: string; number?: number; upload?: Upload } = {},
): Promise<string> {
  const operation = { ...cluster.operation(), user };
  const of = upload ?? (await beginUpload(cluster));
  const part = putRequest(Buffer.alloc(bytes, 1));
  const slot = { number, newest: undefined };
  const stored = uploadsOf(cluster).putPart(operation, of, slot, part, () => ({}));
  return cluster.run(stored.then(({ kind }) => kind, codeOf));
}

describe('the quota of an account', () => {
  it('stops writes once it is used up, in bytes', async () => {
    const { put, settled } = await startWith({ 'x-account-meta-quota-bytes': '1000' });
    expect(await put('first', 900)).toBe('stored');
    expect(await settled('too-much', 101)).toBe('quota-exceeded');
    expect(await put('just', 100)).toBe('stored');
  });

  it('stops writes once it is used up, in objects', async () => {
    const { put, settled } = await startWith({ 'x-account-meta-quota-count': '3' });
    for (const name of ['a', 'b']) expect(await put(name, 1)).toBe('stored');
    expect(await settled('c', 1)).toBe('quota-exceeded');
  });

  it('is known to the first write after it was set here', async () => {
    const { put } = await startWith({ 'x-account-meta-quota-bytes': '20' });
    expect(await put('large', 21)).toBe('quota-exceeded');
    expect(await put('small', 20)).toBe('stored');
  });

  it('stops parts of uploads, too, which are nobody\u2019s objects yet', async () => {
    const { cluster } = await startWith({ 'x-account-meta-quota-bytes': '20' });
    expect(await putPart(cluster, 21)).toBe('quota-exceeded');
    expect(await putPart(cluster, 20)).toBe('stored');
  });

  it('counts the parts of uploads under way, and gives them back when they are over', async () => {
    const { cluster, settled } = await startWith({ 'x-account-meta-quota-bytes': '100' });
    const [upload, other] = [await beginUpload(cluster), await beginUpload(cluster)];
    expect(await putPart(cluster, 40, { upload })).toBe('stored');
    expect(await putPart(cluster, 40, { upload: other })).toBe('stored');
    expect(await settled('object', 21)).toBe('quota-exceeded');
    expect(await putPart(cluster, 21, { upload, number: 2 })).toBe('quota-exceeded');
    expect(await putPart(cluster, 20, { upload, number: 2 })).toBe('stored');
    expect(await complete(cluster, upload)).toBe('stored');
    expect(await settled('object', 1)).toBe('quota-exceeded');
    expect(await abort(cluster, other)).toBe('aborted');
    expect(await settled('object', 41)).toBe('quota-exceeded');
    expect(await settled('object', 40)).toBe('stored');
  });

  it('of another account, or none, stops nobody', async () => {
    const { settled } = await startWith({ 'x-account-meta-colour': 'red' });
    expect(await settled('anything', 5000)).toBe('stored');
  });
});

describe('the quota of a container', () => {
  it('counts what was acknowledged a moment ago', async () => {
    const cluster = await TestCluster.start({ realRows: true });
    await cluster.createContainer();
    const quota = { 'x-container-meta-quota-bytes': '10', 'x-container-meta-quota-count': '2' };
    await cluster.run(cluster.proxy.updateContainer(cluster.operation(), CONTAINER, quota));
    const put = (name: string, bytes: number) =>
      cluster.run(
        cluster.proxy
          .putObject(cluster.operation(), objectName(name), putRequest(Buffer.alloc(bytes)))
          .then(({ kind }) => kind, codeOf),
      );
    expect(await put('a', 9)).toBe('stored');
    expect(await put('b', 2)).toBe('quota-exceeded');
    expect(await put('b', 1)).toBe('stored');
    expect(await put('c', 0)).toBe('quota-exceeded');
  });
});

describe('the quota of a container, of uploads under way', () => {
  it('counts each part at the next one, and gives them back when the upload is over', async () => {
    const cluster = await TestCluster.start({ realRows: true });
    await cluster.createContainer();
    const quota = { 'x-container-meta-quota-bytes': '100' };
    await cluster.run(cluster.proxy.updateContainer(cluster.operation(), CONTAINER, quota));
    const put = (bytes: number): Promise<string> => {
      const request = putRequest(Buffer.alloc(bytes));
      const stored = cluster.proxy.putObject(cluster.operation(), objectName('a'), request);
      return cluster.run(stored.then(({ kind }) => kind, codeOf));
    };
    const aMoment = () => cluster.run(cluster.node('lngs').env.clock.sleep(3_000));
    const upload = await beginUpload(cluster);
    for (const number of [1, 2]) {
      expect(await putPart(cluster, 40, { upload, number })).toBe('stored');
    }
    expect(await putPart(cluster, 21, { upload, number: 3 })).toBe('quota-exceeded');
    expect(await put(21)).toBe('quota-exceeded');
    expect(await putPart(cluster, 20, { upload, number: 3 })).toBe('stored');
    expect(await put(1)).toBe('quota-exceeded');
    expect(await complete(cluster, upload)).toBe('stored');
    const again = await beginUpload(cluster);
    await aMoment();
    expect(await putPart(cluster, 1, { upload: again })).toBe('quota-exceeded');
    await cluster.run(cluster.proxy.deleteObject(cluster.operation(), objectName('parts')));
    expect(await putPart(cluster, 90, { upload: again })).toBe('stored');
    expect(await put(11)).toBe('quota-exceeded');
    expect(await abort(cluster, again)).toBe('aborted');
    await aMoment();
    expect(await put(100)).toBe('stored');
  });
});

describe('the quota of a user', () => {
  const anna = 'a'.repeat(32);

  async function startWithUsers(quota: Record<string, string>) {
    const cluster = await TestCluster.start({ realRows: true, runJobs: true });
    await cluster.createContainer();
    const { proxy, world } = cluster;
    const account = userAccount(anna);
    await cluster.run(proxy.updateAccount(cluster.operation(), account, quota));
    const wait = () => cluster.run(world.machine('lngs').env.clock.sleep(SECONDS * 1000));
    const put = (name: string, bytes: number, user?: string): Promise<string> => {
      const operation = { ...cluster.operation(), user };
      const stored = proxy.putObject(operation, objectName(name), putRequest(Buffer.alloc(bytes)));
      return cluster.run(stored.then(({ kind }) => kind, codeOf));
    };
    const held = async (): Promise<number[]> => {
      const { objects, bytes } = await cluster.run(proxy.accountInfo(cluster.operation(), account));
      return [objects, bytes];
    };
    const settled = async (): Promise<number[]> => {
      for (let i = 0; i < 2; i++) {
        await wait();
        await put('look', 0, anna);
      }
      await wait();
      return held();
    };
    return { cluster, put, settled };
  }

  it('counts what the user wrote, and stops nobody else', async () => {
    const { put, settled } = await startWithUsers({ 'x-account-meta-quota-bytes': '100' });
    expect(await put('hers', 60, anna)).toBe('stored');
    expect(await put('another', 60, 'b'.repeat(32))).toBe('stored');
    expect(await settled()).toEqual([2, 60]);
    expect(await put('more', 41, anna)).toBe('quota-exceeded');
    expect(await put('more', 41, 'b'.repeat(32))).toBe('stored');
    expect(await put('just', 40, anna)).toBe('stored');
  });

  it('is given back by who deletes or overwrites it', async () => {
    const { cluster, put, settled } = await startWithUsers({ 'x-account-meta-quota-bytes': '100' });
    for (const name of ['a', 'b']) expect(await put(name, 50, anna)).toBe('stored');
    expect(await settled()).toEqual([3, 100]);
    expect(await put('c', 1, anna)).toBe('quota-exceeded');
    await cluster.run(cluster.proxy.deleteObject(cluster.operation(), objectName('a')));
    expect(await put('b', 7, 'b'.repeat(32))).toBe('stored');
    expect(await settled()).toEqual([1, 0]);
    expect(await put('c', 100, anna)).toBe('stored');
  });

  it('counts an upload when it is completed, for who completes it', async () => {
    const { cluster, put, settled } = await startWithUsers({ 'x-account-meta-quota-bytes': '100' });
    const upload = await beginUpload(cluster);
    for (const number of [1, 2]) {
      expect(await putPart(cluster, 40, { user: anna, number, upload })).toBe('stored');
    }
    expect(await settled()).toEqual([1, 0]);
    expect(await put('hers', 30, anna)).toBe('stored');
    expect(await settled()).toEqual([2, 30]);
    expect(await complete(cluster, upload, anna)).toBe('quota-exceeded');
    await cluster.run(cluster.proxy.deleteObject(cluster.operation(), objectName('hers')));
    expect(await settled()).toEqual([1, 0]);
    expect(await complete(cluster, upload, anna)).toBe('stored');
    expect(await settled()).toEqual([2, 80]);
    expect(await putPart(cluster, 21, { user: anna })).toBe('quota-exceeded');
    await cluster.run(cluster.proxy.deleteObject(cluster.operation(), objectName('parts')));
    expect(await settled()).toEqual([1, 0]);
  });

  it('counts the uploads that the user has begun, wherever they are', async () => {
    const { cluster, put, settled } = await startWithUsers({
      'x-account-meta-quota-bytes': '2000',
    });
    const upload = await beginUpload(cluster, anna);
    const [objects, record] = await settled();
    expect(objects).toBe(2);
    const left = 2000 - record!;
    expect(await putPart(cluster, 500, { user: anna, upload })).toBe('stored');
    await settled();
    expect(await put('hers', left - 499, anna)).toBe('quota-exceeded');
    const part = { user: anna, upload, number: 2 };
    expect(await putPart(cluster, left - 499, part)).toBe('quota-exceeded');
    expect(await putPart(cluster, left - 500, part)).toBe('stored');
    expect(await put('another', 5000, 'b'.repeat(32))).toBe('stored');
    expect(await abort(cluster, upload)).toBe('aborted');
    expect(await settled()).toEqual([1, 0]);
    expect(await put('hers', 2000, anna)).toBe('stored');
  });

  it('counts objects, too', async () => {
    const { put, settled } = await startWithUsers({ 'x-account-meta-quota-count': '2' });
    expect(await put('a', 1, anna)).toBe('stored');
    expect(await settled()).toEqual([2, 1]);
    expect(await put('b', 1, anna)).toBe('quota-exceeded');
  });
});
