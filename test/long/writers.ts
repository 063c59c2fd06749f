/**
 * Clients of the lab, a process of its own inside their network: they write objects without pause through the
 * balancers of all sites, remember what was acknowledged, and at the end read all of it back.
 *
 * argv[2]: WriterPlan as JSON. Lines on stdin: `phase NAME` (what follows is counted under it), `verify`. The
 * answer to `verify`, a line on stdout, is a WriterReport.
 */
import { createHash } from 'node:crypto';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

export interface WriterPlan {
  /** `https://10.1.0.1`; each writer begins with its own and goes on to the next when that one fails. */
  readonly fronts: readonly string[];
  readonly user: string;
  readonly password: string;
  readonly project: string;
  readonly domain: string;
}

export interface Phase {
  acknowledged: number;
  /** Attempts that failed and were repeated, here or at another site. */
  retries: number;
  /** Writes that no site took within the time. */
  failed: number;
  longestMs: number;
}

export interface WriterReport {
  readonly phases: Readonly<Record<string, Phase>>;
  readonly verified: number;
  /** Acknowledged, and not read back as it was written. */
  readonly lost: readonly string[];
  readonly unlisted: readonly string[];
}

const plan: WriterPlan = JSON.parse(process.argv[2]!);
const WRITERS = 4;
const ATTEMPT_MS = 20_000;
const GIVE_UP_MS = 90_000;
const PAUSE_MS = 100;
/** Lost ones after which the others are not waited for. */
const MANY = 20;
const SIZES = [100, 4096, 70_000, 400_000, 2_000_000];

const phases: Record<string, Phase> = {};
const acknowledged: string[] = [];
let phase = begin('start');
let writing = true;

function begin(name: string): Phase {
  phases[name] ??= { acknowledged: 0, retries: 0, failed: 0, longestMs: 0 };
  return phases[name];
}

/** What belongs to a name: nothing has to be remembered, and no two are alike. */
function contentOf(name: string): Uint8Array<ArrayBuffer> {
  const digest = createHash('sha256').update(name).digest();
  return new Uint8Array(Buffer.alloc(SIZES[digest[0]! % SIZES.length]!, digest));
}

async function logIn(): Promise<{ token: string; account: string }> {
  const { user, password, project, domain } = plan;
  const identity = {
    methods: ['password'],
    password: { user: { name: user, password, domain: { name: domain } } },
  };
  const scope = { project: { name: project, domain: { name: domain } } };
  const response = await fetch(`${plan.fronts[0]}/v3/auth/tokens`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ auth: { identity, scope } }),
  });
  if (response.status !== 201) throw new Error(`log-in: ${response.status}`);
  const body = (await response.json()) as { token: { project: { id: string } } };
  return {
    token: response.headers.get('x-subject-token')!,
    account: `/v1/AUTH_${body.token.project.id}`,
  };
}

const { token, account } = await logIn();

async function attempt(
  front: number,
  method: string,
  name: string,
  body?: Uint8Array<ArrayBuffer>,
): Promise<{ status: number; bytes: Buffer }> {
  try {
    const base = plan.fronts[front % plan.fronts.length];
    const response = await fetch(`${base}${account}/${name}`, {
      method,
      headers: { 'x-auth-token': token },
      signal: AbortSignal.timeout(ATTEMPT_MS),
      ...(body !== undefined && { body }),
    });
    return { status: response.status, bytes: Buffer.from(await response.arrayBuffer()) };
  } catch {
    return { status: 0, bytes: Buffer.alloc(0) };
  }
}

async function writer(n: number): Promise<void> {
  for (let i = 0; writing; i += 1) {
    const name = `${n}-${String(i).padStart(6, '0')}`;
    const started = performance.now();
    const now = phase;
    if (await write(n, name, now)) {
      acknowledged.push(name);
      now.acknowledged += 1;
    } else now.failed += 1;
    now.longestMs = Math.max(now.longestMs, Math.round(performance.now() - started));
  }
}

async function write(n: number, name: string, now: Phase): Promise<boolean> {
  const giveUpAt = performance.now() + GIVE_UP_MS;
  for (let front = n; performance.now() < giveUpAt; front += 1) {
    if ((await attempt(front, 'PUT', `box/${name}`, contentOf(name))).status === 201) return true;
    now.retries += 1;
    await sleep(PAUSE_MS);
  }
  return false;
}

async function verify(): Promise<WriterReport> {
  const lost: string[] = [];
  const names = [...acknowledged];
  const reader = async (n: number): Promise<void> => {
    for (let name = names.pop(); name !== undefined; name = names.pop())
      if (!(await isThere(n, name, lost.length < MANY))) lost.push(name);
  };
  await Promise.all(Array.from({ length: WRITERS }, (_, n) => reader(n)));
  const listed = new Set(await listing());
  const unlisted = acknowledged.filter((name) => !listed.has(name));
  return { phases, verified: acknowledged.length - lost.length, lost, unlisted };
}

/** As patient as a write was: a machine so busy that nobody answers for a while has lost nothing. */
async function isThere(front: number, name: string, isPatient: boolean): Promise<boolean> {
  const giveUpAt = performance.now() + (isPatient ? GIVE_UP_MS : 0);
  for (let tries = 0; tries < 3 || performance.now() < giveUpAt; tries += 1, await sleep(1000)) {
    const { status, bytes } = await attempt(front + tries, 'GET', `box/${name}`);
    if (status === 200 && bytes.equals(contentOf(name))) return true;
  }
  return false;
}

async function listing(): Promise<string[]> {
  const names: string[] = [];
  for (;;) {
    const marker = encodeURIComponent(names.at(-1) ?? '');
    const { status, bytes } = await attempt(0, 'GET', `box?limit=10000&marker=${marker}`);
    if (status !== 200 && status !== 204) throw new Error(`listing: ${status}`);
    const page = bytes.toString().split('\n').filter(Boolean);
    if (page.length === 0) return names;
    names.push(...page);
  }
}

const created = await attempt(0, 'PUT', 'box');
if (created.status !== 201) throw new Error(`PUT box: ${created.status} ${created.bytes}`);
console.log('ready');
const writers = Array.from({ length: WRITERS }, (_, n) => writer(n));
for await (const line of createInterface({ input: process.stdin })) {
  const [verb, name] = line.split(' ');
  if (verb === 'phase') phase = begin(name!);
  if (verb !== 'verify') continue;
  writing = false;
  await Promise.all(writers);
  console.log(JSON.stringify(await verify()));
  process.exit(0);
}
