/** Three machines from nothing by the commands of the guide, with certificates of their own; a fourth; one expelled. */
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sleep } from './cluster.ts';
import { type MachinePlan, Machines } from './machines.ts';

const ROLES = 'proxy,identity,storage';
const MACHINES: readonly MachinePlan[] = [
  { name: 'lngs-1', site: 'lngs', address: '127.0.0.11', roles: `authority,${ROLES}` },
  { name: 'bari-1', site: 'bari', address: '127.0.0.12', roles: ROLES },
  { name: 'padova-1', site: 'padova', address: '127.0.0.13', roles: ROLES },
];
const FOURTH: MachinePlan = {
  name: 'bari-2',
  site: 'bari',
  address: '127.0.0.14',
  roles: 'storage',
};
const machines = new Machines(20_000 + 10 * (process.pid % 3_000));
/** Of a write, its rows and what devices note of themselves: far less than the objects there are. */
const MOST_ADDED = 256 * 1024;
const bytesIn = (files: ReadonlyMap<string, Buffer>): number =>
  [...files.values()].reduce((sum, { length }) => sum + length, 0);
let token = '';
let account = '';

function description(): string {
  const sites = MACHINES.map(({ site, name, address }) => {
    const devices = '[{name: d1, weight: 100}, {name: d2, weight: 100}]';
    return `  ${site}: [{node: ${name}, wire: "${address}:${machines.ports.wire}", devices: ${devices}}]`;
  });
  return `format: 1
name: physics
part_power: 6
min_part_hours: 0
policies: [{name: standard, index: 0, replicas: 3, default: true}]
sites:
${sites.join('\n')}
`;
}

async function logIn(): Promise<void> {
  const env = machines.administrator();
  const domain = { name: env['OS_USER_DOMAIN_NAME'] };
  const user = { name: env['OS_USERNAME'], password: env['OS_PASSWORD'], domain };
  const scope = { project: { name: env['OS_PROJECT_NAME'], domain } };
  const auth = { identity: { methods: ['password'], password: { user } }, scope };
  const response = await fetch(`${env['OS_AUTH_URL']}/auth/tokens`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ auth }),
  });
  expect(response.status).toBe(201);
  token = response.headers.get('x-subject-token')!;
  const body = (await response.json()) as { token: { project: { id: string } } };
  account = `/v1/AUTH_${body.token.project.id}`;
}

async function request(plan: MachinePlan, method: string, path: string, body?: string) {
  const headers = { 'x-auth-token': token };
  const url = `${machines.proxy(plan)}${account}${path}`;
  return fetch(url, { method, headers, ...(body !== undefined && { body }) });
}

async function until(what: string, check: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 60_000; Date.now() < end; await sleep(250))
    if (await check()) return;
  throw new Error(`not within 60 s: ${what}`);
}

/** As the guide does it: the authority and the machine's file learn of it, the node after a restart. */
async function addDisk(plan: MachinePlan, name: string): Promise<void> {
  const folder = machines.file(`${plan.name}/${name}`);
  mkdirSync(folder);
  const config = ['--config', machines.file(`${plan.name}.yaml`)];
  const first = await machines.anello('node', 'add-disk', folder, ...config, '--json');
  const again = await machines.anello('node', 'add-disk', folder, ...config, '--json');
  expect(JSON.parse(again)).toEqual(JSON.parse(first));
  expect(JSON.parse(first).devices).toMatchObject([{ name }]);
  await machines.stop(plan);
  await machines.start(plan);
}

async function settled(): Promise<boolean> {
  const status = JSON.parse(await machines.anello('ring', 'status', '--json'));
  const joint = status.rings.reduce((sum: number, ring: { joint: number }) => sum + ring.joint, 0);
  return joint === 0 && status.inForceEverywhere;
}

beforeAll(async () => {
  await machines.init(MACHINES[0]!, description());
  for (const plan of MACHINES.slice(1)) await machines.join(plan);
  await machines.anello('ring', 'plan', machines.file('cluster.yaml'));
  await machines.anello('ring', 'apply');
  for (const plan of MACHINES)
    await until(`${plan.name} serves`, async () => {
      const answer = await fetch(`${machines.proxy(plan)}/healthcheck`).catch(() => undefined);
      return answer?.ok === true;
    });
}, 240_000);
afterAll(() => machines.close());

describe('machines that joined', () => {
  it('serve together: what one proxy took, the others give', async () => {
    await logIn();
    // Each of them said so of itself by its /healthcheck.
    expect((await request(MACHINES[0]!, 'PUT', '/box')).status).toBe(201);
    for (let n = 0; n < 12; n += 1) {
      const put = await request(MACHINES[n % 3]!, 'PUT', `/box/o${n}`, `content ${n}`);
      expect(put.status).toBe(201);
      const get = await request(MACHINES[(n + 1) % 3]!, 'GET', `/box/o${n}`);
      expect(await get.text()).toBe(`content ${n}`);
    }
  });

  it('repair each other: every storage node hears of every other what it holds', async () => {
    for (const { address } of MACHINES)
      await until(`the node at ${address} hears of its peers`, async () => {
        const admin = `http://${address}:${machines.ports.admin}/repair`;
        const { jobs } = (await (await fetch(admin)).json()) as {
          jobs: { name: string; facts: Record<string, unknown> }[];
        };
        const exchange = jobs.find(({ name }) => name === 'repair.exchange')!;
        return Number(exchange.facts['cycles']) > 0 && exchange.facts['silentPeers'] === 0;
      });
  });

  it('talk to nobody without a certificate of their cluster', async () => {
    const { address } = MACHINES[1]!;
    const socket = connect({ host: address, port: machines.ports.wire, rejectUnauthorized: false });
    const end = await new Promise<string>((resolve) => {
      socket.on('error', (error) => resolve((error as NodeJS.ErrnoException).code ?? 'error'));
      socket.on('close', () => resolve('closed'));
      socket.on('data', () => resolve('data'));
    });
    expect(end).not.toBe('data');
    const authority = `https://${MACHINES[0]!.address}:${machines.ports.authority}/v1/status`;
    await expect(fetch(authority)).rejects.toThrow();
    await expect(
      machines.anello('join', '--config', machines.file('nowhere.yaml')),
    ).rejects.toThrow();
  });

  it('raise the part power while they run: not a byte on any disk moves', async () => {
    const large = 'x'.repeat(400 * 1024);
    for (const name of ['/box/l0', '/box/l1', '/box/l2'])
      expect((await request(MACHINES[0]!, 'PUT', name, large)).status).toBe(201);
    // A write is acknowledged by two of three: the last copy may still be under way.
    let before = new Map<string, Buffer>();
    await until('all copies are on disks, and nothing is being written', async () => {
      const last = bytesIn(before);
      before = machines.storedFiles(MACHINES);
      return bytesIn(before) >= 9 * large.length && bytesIn(before) === last;
    });
    await machines.anello('ring', 'plan', '--part-power', '7');
    await machines.anello('ring', 'apply');
    await until('it is in force everywhere', settled);
    const { rings } = JSON.parse(await machines.anello('ring', 'show', '--json'));
    for (const { settings } of rings) expect(settings.partPower).toBe(7);
    for (let n = 0; n < 12; n += 1) {
      const get = await request(MACHINES[n % 3]!, 'GET', `/box/o${n}`);
      expect(await get.text()).toBe(`content ${n}`);
    }
    expect((await request(MACHINES[1]!, 'PUT', '/box/finer', 'two halves')).status).toBe(201);
    // Logs are appended to, with that write and little else; nothing in them was written anew or taken away.
    const after = machines.storedFiles(MACHINES);
    let added = 0;
    for (const [file, bytes] of after) {
      const known = before.get(file) ?? Buffer.alloc(0);
      expect([file, bytes.subarray(0, known.length).equals(known)]).toEqual([file, true]);
      added += bytes.length - known.length;
    }
    expect([...before.keys()].filter((file) => !after.has(file))).toEqual([]);
    // Were a single large object copied, it would be more.
    expect(added).toBeLessThan(MOST_ADDED);
  });

  it('take a fourth among them, whose disks get their share while clients write', async () => {
    await machines.join(FOURTH);
    await addDisk(FOURTH, 'd3');
    const { address } = FOURTH;
    const specs = ['d1', 'd2', 'd3'].map(
      (d) => `bari/bari-2/${d}=100@${address}:${machines.ports.wire}`,
    );
    await machines.anello('ring', 'plan', '--force', ...specs.flatMap((s) => ['--add-device', s]));
    await machines.anello('ring', 'apply', '--force');
    for (let n = 0; n < 40 && !(await settled()); n += 1) {
      const put = await request(MACHINES[n % 3]!, 'PUT', `/box/during${n}`, `content ${n}`);
      expect(put.status).toBe(201);
    }
    await until('the new ring is settled', settled);
    const status = JSON.parse(await machines.anello('ring', 'show', '--json'));
    expect(status.devices.map(({ node }: { node: string }) => node)).toContain('bari-2');
    const get = await request(MACHINES[2]!, 'GET', '/box/during0');
    expect(await get.text()).toBe('content 0');
  });

  it('are drained while nobody watches: the progress bar is left, and picked up again', async () => {
    await machines.anello('ring', 'pause');
    const wait = ['--drain', 'bari-2', '--force', '--wait'];
    const { child, printed } = machines.staying('ring', 'apply', ...wait);
    const ended = once(child, 'exit');
    await until('the change is published', async () => printed().includes('is published'));
    // It waits from here on, and for ever: nothing is settled meanwhile.
    await until('it is joint', async () => !(await settled()));
    child.kill('SIGINT');
    expect(await ended).toEqual([130, null]);
    expect(printed()).toContain('left: the change goes on by itself');
    expect(await settled()).toBe(false);
    await machines.anello('ring', 'resume');
    expect(await machines.anello('ring', 'progress')).toContain('all moves are settled');
    expect(await settled()).toBe(true);
    const { devices } = JSON.parse(await machines.anello('ring', 'show', '--json'));
    const drained = devices.filter(({ node }: { node: string }) => node === 'bari-2');
    expect(drained.map(({ weight }: { weight: number }) => weight)).toEqual([0, 0, 0]);
  });

  it('are cut off within seconds when they are expelled', async () => {
    await machines.anello('node', 'expel', 'bari-2');
    await until('the others have parted with it', async () => {
      const admin = `http://${MACHINES[0]!.address}:${machines.ports.admin}/status`;
      const { wire } = (await (await fetch(admin)).json()) as {
        wire: { connections: { peer: string }[] };
      };
      return wire.connections.every(({ peer }) => peer !== 'bari-2');
    });
    expect(await machines.anello('node', 'list')).toContain('EXPELLED');
    const put = await request(MACHINES[0]!, 'PUT', '/box/after', 'still here');
    expect(put.status).toBe(201);
  });

  it('go on without the authority, and come back with it', async () => {
    await machines.stop(MACHINES[0]!);
    const put = await request(MACHINES[1]!, 'PUT', '/box/without', 'no authority');
    expect(put.status).toBe(201);
    await machines.start(MACHINES[0]!);
    await until('it is the leader again', async () => {
      const status = await machines.anello('ring', 'status', '--json').catch(() => '{}');
      return JSON.parse(status).leads === true;
    });
  });
});
