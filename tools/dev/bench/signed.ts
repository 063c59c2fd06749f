/** S3's API beside Swift's on the same store: the same bytes, signed there, with a token here. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Case, type Figure, preload, rate, request } from './cases.ts';
import { type SignedRequest, writeSigned } from './presigned.ts';
import type { Store } from './store.ts';

const BUCKET = 'bench-signed';
const BODY = Buffer.alloc(4096, 'anello benchmark body ');
const NOTHING = new Uint8Array();
const KEYS = 2000;
const SECONDS = 3;
const ROUNDS = 4;
/** More than fit into the seconds: a conditional write of a name that is there would be refused. */
const MAX_PUTS = 20_000;
const ONLY_NEW = { 'if-none-match': '*' };

/**
 * Rounds alternate, so that what else the machine does falls on all alike, and every other one goes the other
 * way round, for each kind leaves work behind for the next; the best of each counts.
 */
export const signedRequests: Case = async (store) => {
  if (store.s3 === undefined) return [];
  await preload(store, BUCKET, KEYS, BODY.length);
  await request(store, 'PUT', `/${BUCKET}`);
  const folder = mkdtempSync(path.join(tmpdir(), 'anello-signed-'));
  const runs = kindsOf(store, path.join(folder, 'heads'));
  const rounds: Figure[][] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const figures: Figure[] = [];
    const order = [...runs.keys()];
    for (const kind of round % 2 === 0 ? order : order.reverse()) {
      figures[kind] = await runs[kind]!(round);
    }
    rounds.push(figures);
  }
  rmSync(folder, { recursive: true });
  return runs.map((_, kind) => best(rounds.map((figures) => figures[kind]!)));
};

function kindsOf(store: Store, heads: string): ((round: number) => Promise<Figure>)[] {
  const swift = (name: string, method: 'PUT' | 'GET') => (round: number) => {
    const key = method === 'GET' ? 'k%' : `swift-${round}-%`;
    const order = method === 'GET' ? ('cyclic' as const) : ('sequential' as const);
    const at = { path: `${store.account}/${BUCKET}/${key}`, keys: KEYS, order };
    const bodyBytes = method === 'PUT' ? BODY.length : 0;
    return rate(store, `${name} 4 KiB, 16, Swift`, { method, seconds: SECONDS, bodyBytes, ...at });
  };
  const s3 = (name: string, make: (round: number) => SignedRequest[]) => (round: number) => {
    const requests = make(round);
    writeSigned(heads, store.s3!, store.url.host, requests);
    const { method, body } = requests[0]!;
    const plan = { method, seconds: SECONDS, bodyBytes: body.length, heads };
    return rate(store, `${name} 4 KiB, 16, S3 signed`, { ...plan, order: 'sequential' });
  };
  return [
    swift('PUT', 'PUT'),
    s3('PUT', (round) => puts(`plain-${round}`)),
    s3('PUT if new', (round) => puts(`new-${round}`, ONLY_NEW)),
    swift('GET', 'GET'),
    s3('GET', () => gets()),
  ];
}

function puts(prefix: string, headers: Readonly<Record<string, string>> = {}): SignedRequest[] {
  return Array.from({ length: MAX_PUTS }, (_, n) => {
    return { method: 'PUT', target: `/${BUCKET}/${prefix}-${n}`, body: BODY, headers };
  });
}

function gets(): SignedRequest[] {
  return Array.from({ length: KEYS }, (_, n) => {
    const target = `/${BUCKET}/k${String(n).padStart(7, '0')}`;
    return { method: 'GET', target, body: NOTHING };
  });
}

function best(figures: readonly Figure[]): Figure {
  return figures.reduce((a, b) => (b.value > a.value ? b : a));
}
