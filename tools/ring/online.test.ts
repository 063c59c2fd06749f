/** `anello ring` and an authority: what is asked, and what a program that reads the answer gets. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Command } from 'commander';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { rejectedCode } from '#base/testing/thrown.ts';
import { writeOperatorFile } from '../authority/operator-file.ts';
import { register } from '../commands/ring.ts';

type Reply = readonly [status: number, body: unknown];

const RINGS = { rings: [], partitions: 0, replicas: 0, bytes: 0, pairs: [] };
let folder: string;
let server: Server;
let asked: { path: string; body: Record<string, unknown> }[];
/** The next answers of each path; the last one stays. */
let replies: Record<string, Reply[]>;

beforeEach(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'anello-online-'));
  asked = [];
  server = createServer(async (request, response) => {
    const chunks = await request.toArray();
    const body = chunks.length === 0 ? {} : JSON.parse(Buffer.concat(chunks).toString());
    asked.push({ path: request.url!, body });
    const next = replies[request.url!]!;
    const [status, reply] = next.length > 1 ? next.shift()! : next[0]!;
    response.writeHead(status).end(JSON.stringify(reply));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const authorities = [`http://127.0.0.1:${port}`];
  writeOperatorFile(path.join(folder, 'operator.json'), { authorities, token: 'x'.repeat(32) });
});

afterEach(async () => {
  await new Promise<unknown>((resolve) => server.close(resolve).closeAllConnections());
  rmSync(folder, { recursive: true });
});

/** What `anello ring ...` prints. */
async function ring(...args: string[]): Promise<string> {
  const program = new Command().exitOverride();
  register(program);
  const printed: string[] = [];
  const { log } = console;
  console.log = (text: string) => printed.push(text);
  try {
    await program.parseAsync(['ring', ...args, '--data', folder], { from: 'user' });
  } finally {
    console.log = log;
  }
  return printed.join('\n');
}

function now(more: object): Reply {
  const progress = { policy: 0, partitions: 4, moves: 4, statesDone: 1, bodiesDone: 0 };
  return [
    200,
    { version: 7, paused: false, inForceEverywhere: true, progress: [progress], ...more },
  ];
}

const joint = (count: number): object => ({ rings: [{ ring: 'account', joint: count }] });

describe('anello ring with a cluster', () => {
  it('tells the authority what is stored and how wide the lines are', async () => {
    replies = { '/v1/rings/plan': [[200, { plan: {}, view: RINGS }]] };
    const table = path.join(folder, 'bytes.json');
    writeFileSync(table, '{"bari/bari-1/d1": 5000}');
    const change = ['plan', '--drain', 'bari-1', '--json'];
    await ring(...change, '--bytes-used', '2GB', '--bandwidth', '100MB');
    await ring(...change, '--bytes-used', table);
    expect(asked.map(({ body }) => [body['bytesUsed'], body['bandwidth']])).toEqual([
      [2e9, 1e8],
      [{ 'bari/bari-1/d1': 5000 }, undefined],
    ]);
    for (const wrong of [
      ['--bandwidth', 'wide'],
      ['--bytes-used', path.join(folder, 'none')],
    ])
      expect(await rejectedCode(ring(...change, ...wrong))).toBe('wrong-use');
  });

  it('takes what the authority finds wrong for wrong use, and other refusals for what they are', async () => {
    const refused = (code: string) => ({ code, message: 'no' });
    replies = {
      '/v1/rings/plan': [
        [400, refused('bad-input')],
        [404, refused('unknown-device')],
      ],
    };
    expect(await rejectedCode(ring('plan', '--drain', 'bari-1'))).toBe('wrong-use');
    expect(await rejectedCode(ring('plan', '--drain', 'bari-1'))).toBe('unknown-device');
  });

  it('prints one document when it waits: that it is published, and that it is done', async () => {
    replies = {
      '/v1/rings/plan': [[200, { plan: {}, view: RINGS }]],
      '/v1/rings/apply': [[200, { version: 7 }]],
      '/v1/status': [now(joint(3)), now({ ...joint(0), version: 8 })],
    };
    const printed = await ring('apply', '--drain', 'bari-1', '--wait', '--json');
    expect(JSON.parse(printed)).toEqual({
      version: 7,
      view: RINGS,
      done: { version: 8, joint: 0 },
    });
  });

  it('waits for all steps of a gradual change', async () => {
    const change = { update: [{ id: 2, weight: 0 }] };
    replies = {
      '/v1/rings/plan': [[200, { plan: { change }, view: RINGS }]],
      '/v1/rings/gradual': [[200, { version: 7 }]],
      '/v1/status': [now({ ...joint(0), gradual: {} }), now({ ...joint(0), version: 9 })],
    };
    const printed = await ring('apply', '--drain', 'bari-1', '--gradual', '50', '--wait', '--json');
    expect(JSON.parse(printed).done).toEqual({ version: 9, joint: 0 });
  });
});
