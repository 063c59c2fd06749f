/**
 * A long listing in a minute: rows go to the container's replicas as storage nodes send them, a thousand
 * in a message, without the objects. A million PUTs would take ten.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { decodeBundle } from '#authority/bundle.ts';
import type { EntryState } from '#base/entry.ts';
import { encodeState } from '#base/entry-codec.ts';
import { HybridClock } from '#base/hybrid-clock.ts';
import { CONTAINER_RING } from '#base/names.ts';
import type { RowItem, RowsArgs, RowsReply } from '#container/calls.ts';
import { createNodeEnv } from '#env/node/node-env.ts';
import { type Place, placeOf } from '#proxy/placement.ts';
import type { ClusterView } from '#ring/cluster.ts';
import { Endpoint } from '#wire/endpoint.ts';

const WORKER = 0xfff0;
const ROWS_PER_CALL = 1000;
const CALLS_AT_ONCE = 4;
const DEADLINE_MS = 60_000;

/** Lists `k0000000` and so on in a container of the cluster in this folder. */
export async function fillRows(folder: string, container: string, count: number): Promise<void> {
  // Whoever measures has just started the cluster: its own file needs no proof.
  const bundle = readFileSync(path.join(folder, 'nodes/lngs-1/bundle'));
  const view = decodeBundle(bundle, () => true);
  const sharedKey = readFileSync(path.join(folder, 'state/wire.key'));
  const env = createNodeEnv({ logLevel: 'error' });
  const clock = hybridClock(() => env.clock.wallMicros());
  const wire = new Endpoint({
    env,
    clock,
    cluster: { clusterId: view.clusterId, sharedKey },
    self: { node: 'bench', site: 'bench' },
    peers: { lookup: (name) => locate(view, name) },
  });
  const place = placeOf(view, CONTAINER_RING, container);
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) {
      const from = next;
      next = Math.min(count, from + ROWS_PER_CALL);
      const rows = Array.from({ length: next - from }, (_, i) => rowOf(place, clock, from + i));
      await send(wire, place, rows);
    }
  };
  await Promise.all(Array.from({ length: CALLS_AT_ONCE }, worker));
  await wire.close();
}

function hybridClock(wallMicros: () => number): HybridClock {
  return new HybridClock({ workerId: WORKER, wallMicros, bound: 0, reserve: () => undefined });
}

function locate(view: ClusterView, name: string) {
  const node = view.nodes.get(name);
  return node && { address: node.wire, site: node.site };
}

function rowOf({ hash, path: container }: Place, clock: HybridClock, number: number): RowItem {
  const timestamp = clock.now();
  const state: EntryState = {
    data: {
      timestamp,
      kind: 'live',
      writeId: number.toString(16).padStart(16, '0'),
      clientMicros: Date.now() * 1000,
      etag: 'd41d8cd98f00b204e9800998ecf8427e',
      size: 0,
      contentType: 'application/octet-stream',
    },
    groups: {},
  };
  const name = `k${String(number).padStart(7, '0')}`;
  return { hash, path: container, name, state: encodeState(state) };
}

async function send(wire: Endpoint, place: Place, rows: readonly RowItem[]): Promise<void> {
  const calls = place.primaries.map(async ({ node, device, ringVersion }) => {
    const args: RowsArgs = { device, ringVersion, rows, intent: 'repair' };
    const options = { txn: 'bench', deadlineMs: DEADLINE_MS };
    const { outcomes } = (await wire.call(node, 'container.rows', args, options))
      .result as RowsReply;
    const refused = outcomes.find((outcome) => outcome !== 'stored');
    if (refused !== undefined) throw new Error(`a row was not taken: ${refused}`);
  });
  await Promise.all(calls);
}
