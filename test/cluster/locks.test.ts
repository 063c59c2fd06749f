/**
 * A lock that many take at once through all proxies, as Terraform's S3 backend does: a PutObject of one key
 * with If-None-Match: *, released by its holder's DELETE. Who holds it is asked through Swift's API: it is one
 * and the same object. Real processes, also while one of them is gone.
 */
import { CreateBucketCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client, until } from './client.ts';
import { Cluster, sleep } from './cluster.ts';

const WRITERS = 50;
const [Bucket, Key] = ['locks', 'terraform.tfstate.tflock'];
const LOCK = `/${Bucket}/${Key}`;
const TIMEOUT_MS = 60_000;
/** Nothing is decided yet: the client is to ask again. */
const UNDECIDED = [409, 503];

let cluster: Cluster;
let client: Client;
/** One at each proxy; none of them tries again. */
let s3: S3Client[];

beforeAll(async () => {
  cluster = await Cluster.start();
  client = await Client.logIn(cluster);
  const { endpoints, region, accessKey, secretKey } = cluster.access.s3;
  const credentials = { accessKeyId: accessKey, secretAccessKey: secretKey };
  s3 = endpoints.map(
    (endpoint) =>
      new S3Client({ endpoint, region, credentials, forcePathStyle: true, maxAttempts: 1 }),
  );
  await s3[0]!.send(new CreateBucketCommand({ Bucket }));
});

afterAll(async () => {
  for (const each of s3 ?? []) each.destroy();
  await cluster?.stopAndRemove();
});

interface Fault {
  /** Those that it makes unreachable. */
  readonly proxies: readonly number[];
  begin(): void;
  end(): Promise<void> | void | undefined;
}

interface Attempt {
  readonly writer: string;
  readonly status: number;
  /** It was told 503 before: the lock that keeps it out may be its own. */
  readonly wasUndecided: boolean;
}

/** Told that nothing is decided, a writer tries again, as Terraform's user does. */
async function take(writer: string, proxy: number): Promise<Attempt> {
  let wasUndecided = false;
  const status = await until(
    `an answer for ${writer}`,
    async () => {
      const answer = await put(writer, proxy);
      wasUndecided ||= UNDECIDED.includes(answer);
      return answer;
    },
    (answer) => !UNDECIDED.includes(answer),
  );
  return { writer, status, wasUndecided };
}

async function put(writer: string, proxy: number): Promise<number> {
  const command = new PutObjectCommand({ Bucket, Key, Body: writer, IfNoneMatch: '*' });
  const abortSignal = AbortSignal.timeout(TIMEOUT_MS);
  try {
    const { $metadata } = await s3[proxy]!.send(command, { abortSignal });
    return $metadata.httpStatusCode ?? 0;
  } catch (error) {
    const { $metadata } = error as { $metadata?: { httpStatusCode?: number } };
    if ($metadata?.httpStatusCode === undefined) throw error;
    return $metadata.httpStatusCode;
  }
}

/** Who holds the lock, by every one of these proxies. */
async function holders(proxies: readonly number[]): Promise<Set<string>> {
  const found = new Set<string>();
  for (const proxy of proxies) {
    const headers = { 'x-newest': 'true' };
    const reply = await until(
      `the lock by proxy ${proxy}`,
      () => client.request(proxy, 'GET', LOCK, { headers }),
      ({ status }) => status < 500,
    );
    found.add(reply.status === 404 ? 'nobody' : reply.body.toString());
  }
  return found;
}

async function release(proxy: number): Promise<void> {
  await until(
    'the release of the lock',
    async () => (await client.request(proxy, 'DELETE', LOCK)).status,
    (status) => status === 204 || status === 404,
  );
}

/** One race for the lock; `meanwhile` goes wrong while it is run, and is over when the writers of `proxies` are answered. */
async function race(turn: number, proxies: readonly number[], meanwhile?: Fault): Promise<void> {
  const cut = meanwhile?.proxies ?? [];
  const all = [...proxies, ...cut];
  const attempts = Array.from({ length: WRITERS }, async (_, i) => {
    await sleep(i % 5);
    return take(`turn ${turn}, writer ${i}`, all[i % all.length]!);
  });
  const isAnswered = attempts.filter((_, i) => proxies.includes(all[i % all.length]!));
  await meanwhile?.begin();
  const early = await Promise.allSettled(isAnswered);
  // Of those that are not cut off somebody has it by now, or knows that somebody has.
  if (cut.length > 0) expect((await holders(proxies)).has('nobody')).toBe(false);
  await meanwhile?.end();
  expect(early.filter(({ status }) => status === 'rejected')).toEqual([]);
  const results = await Promise.all(attempts);
  const winners = results.filter(({ status }) => status === 200);
  expect(results.filter(({ status }) => ![200, 412].includes(status))).toEqual([]);
  expect(winners.length).toBeLessThanOrEqual(1);
  // One writer has it: who was told 200, or else one that was told 503 first and is kept out by its own lock.
  const possible = winners.length > 0 ? winners : results.filter((each) => each.wasUndecided);
  const held = await holders(proxies);
  expect(held.size).toBe(1);
  expect(possible.map(({ writer }) => writer)).toContain([...held][0]);
  await release(proxies[turn % proxies.length]!);
}

describe('a lock that fifty writers at three sites want at once', () => {
  it('is taken by exactly one, each time', async () => {
    for (let turn = 0; turn < 7; turn++) await race(turn, [0, 1, 2]);
  });

  it('also while a node is killed', async () => {
    const nodes = ['padova-2', 'bari-1', 'lngs-1'].filter((name) =>
      cluster.nodes.some((node) => node.name === name),
    );
    for (const [turn, name] of nodes.entries()) {
      const stays = [0, 1, 2].filter(
        (proxy) => cluster.proxies[proxy] !== `http://127.0.0.1:${cluster.node(name).ports.proxy}`,
      );
      let back: Promise<void> | undefined;
      const begin = (): void => {
        back = cluster.kill(name);
      };
      await race(100 + turn, stays, { proxies: [], begin, end: () => back });
    }
  });

  it('also while a site is cut off, whose writers have asked for it, too', async () => {
    const cut = cluster.nodes.find(({ site }) => site === 'bari')!;
    const begin = (): void => void process.kill(cut.pid, 'SIGSTOP');
    const end = (): void => void process.kill(cut.pid, 'SIGCONT');
    try {
      for (let turn = 0; turn < 2; turn++) {
        await race(200 + turn, [0, 2], { proxies: [1], begin, end });
      }
    } finally {
      end();
    }
    await race(300, [0, 1, 2]);
  });
});

describe('a bucket name that two projects want at once, at two sites', () => {
  it('is given to one of them, each time', async () => {
    const { accessKey, secretKey, region } = cluster.access.second.s3;
    const other = new S3Client({
      ...{ region, endpoint: cluster.access.s3.endpoints[2]!, forcePathStyle: true },
      credentials: { accessKeyId: accessKey, secretAccessKey: secretKey },
    });
    /** A busy machine may answer 503, also of what it did: asked again, the owner is told so. */
    const attempt = async (creator: S3Client, name: string): Promise<string> => {
      try {
        await creator.send(new CreateBucketCommand({ Bucket: name }));
        return 'created';
      } catch (error) {
        const { name: code } = error as Error;
        return code === 'BucketAlreadyOwnedByYou' ? 'created' : code;
      }
    };
    const create = (creator: S3Client, name: string): Promise<string> =>
      until(
        `an answer about ${name}`,
        () => attempt(creator, name),
        (outcome) => outcome === 'created' || outcome === 'BucketAlreadyExists',
      );
    try {
      for (let i = 0; i < 10; i++) {
        const name = `wanted-by-two-${i}`;
        const outcomes = await Promise.all([create(s3[0]!, name), create(other, name)]);
        expect(outcomes.sort()).toEqual(['BucketAlreadyExists', 'created']);
      }
    } finally {
      other.destroy();
    }
  });
});
