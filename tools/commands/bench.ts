/** `anello bench`: how fast an endpoint is, by its Swift API, from here. */
import { randomBytes } from 'node:crypto';
import type { Command } from 'commander';
import { OperatingError } from '#base/errors.ts';
import { ProgressBar } from '../authority/progress-bar.ts';
import { printTable } from '../authority/table.ts';
import { type LoadPlan, type LoadResult, runLoad } from '../bench/load.ts';
import type { Trust } from '../doctor/http.ts';
import { type Logins, loginsAt, loginsOf } from '../doctor/logins.ts';
import { type Account, logInV1, logInV3 } from '../doctor/swift-account.ts';
import { readInputText } from '../input-file.ts';
import { parseSize } from '../ring/change-options.ts';

interface Options {
  readonly data: string;
  readonly size: string;
  readonly connections: string;
  readonly seconds: string;
  readonly ca?: string;
  readonly insecure?: boolean;
  readonly json?: boolean;
}

interface Measured extends LoadResult {
  readonly operation: string;
  readonly bytesPerSecond: number;
}

const MAX_SIZE = 1e9;
const MAX_CONNECTIONS = 1000;
const MAX_SECONDS = 3600;
/** Nothing is left behind, however many were put. */
const CLEAR_SECONDS = 3600;

export function register(program: Command): void {
  program
    .command('bench')
    .description('put, get, head and delete objects for a while; requests per second and latencies')
    .argument('[url]', 'an endpoint of Swift; default: the cluster of --data')
    .option('--data <dir>', "the cluster's data folder (reads access.json there)", './data')
    .option('--size <size>', 'of an object', '4kB')
    .option('--connections <number>', 'at once', '16')
    .option('--seconds <number>', 'for each operation', '10')
    .option('--ca <file>', 'PEM of an authority to trust for https')
    .option('--insecure', 'take any certificate')
    .option('--json', 'machine-readable output')
    .addHelpText(
      'after',
      `
With a URL it logs in with ST_USER and ST_KEY (v1), or OS_USERNAME, OS_PASSWORD and OS_PROJECT_NAME
(Keystone v3). It works in a container of its own, which it removes. Exit 1: requests failed.

Examples:
  anello bench --connections 64
  ST_USER=physics:anna ST_KEY=secret anello bench https://store.example.org --size 1MB --seconds 30`,
    )
    .action(bench);
}

async function bench(url: string | undefined, options: Options): Promise<void> {
  const logins = url === undefined ? loginsOf(options.data) : loginsAt(url);
  const ca = options.ca ?? logins.caFile;
  const trust: Trust = {
    ...(ca !== undefined && { ca: readInputText(ca) }),
    ...(options.insecure && { insecure: true }),
  };
  const bodyBytes = parseSize(options.size);
  if (bodyBytes === undefined || bodyBytes > MAX_SIZE)
    throw new OperatingError('wrong-use', `--size ${options.size}: such as 4kB, at most 1GB`);
  const connections = within('--connections', options.connections, MAX_CONNECTIONS);
  const seconds = within('--seconds', options.seconds, MAX_SECONDS);
  const account = await logIn(logins, trust);
  const bar = options.json ? undefined : new ProgressBar('stderr');
  const results = await measure(account, { bodyBytes, connections, seconds }, trust, bar);
  bar?.clear();
  if (options.json) console.log(JSON.stringify(results, null, 2));
  else print(results);
  if (results.some(({ errors }) => errors > 0)) process.exitCode = 1;
}

function within(option: string, text: string, most: number): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 1 && value <= most) return value;
  throw new OperatingError('wrong-use', `${option} ${text}: a whole number from 1 to ${most}`);
}

function logIn({ swift, keystone }: Logins, trust: Trust): Promise<Account> {
  if (swift !== undefined) return logInV1(swift, trust);
  if (keystone !== undefined) return logInV3(keystone, trust);
  throw new OperatingError('wrong-use', 'ST_USER and ST_KEY, or the OS_ variables, are needed');
}

type Wanted = Pick<LoadPlan, 'bodyBytes' | 'connections' | 'seconds'>;

async function measure(
  account: Account,
  wanted: Wanted,
  trust: Trust,
  bar: ProgressBar | undefined,
): Promise<Measured[]> {
  const container = `anello-bench-${randomBytes(6).toString('hex')}`;
  const { status } = await account.send('PUT', container);
  if (status !== 201) throw new OperatingError('refused', `a container is refused: ${status}`);
  const common = { ...planFor(account, container, trust), ...wanted };
  const results: Measured[] = [];
  const run = async (operation: string, plan: LoadPlan, all: number, unit: string) => {
    const start = performance.now();
    const result = await runLoad(plan, (answered) => {
      const done = unit === 's' ? Math.round((performance.now() - start) / 1000) : answered;
      bar?.show(Math.min(done, all), all, `${unit} ${operation}`);
    });
    const bytesPerSecond =
      (bytesOf(operation, wanted.bodyBytes) * result.requests) / result.seconds;
    results.push({ operation, bytesPerSecond, ...result });
    return result.requests;
  };
  const { seconds } = wanted;
  const keys = await run('PUT', { ...common, method: 'PUT', order: 'sequential' }, seconds, 's');
  const reading = { ...common, bodyBytes: 0, keys, order: 'random' } as const;
  if (keys > 0) {
    await run('GET', { ...reading, method: 'GET' }, seconds, 's');
    await run('HEAD', { ...reading, method: 'HEAD' }, seconds, 's');
    const removal = { total: keys, order: 'sequential', seconds: CLEAR_SECONDS } as const;
    await run('DELETE', { ...reading, ...removal, method: 'DELETE' }, keys, 'objects');
  }
  await account.send('DELETE', container);
  return results;
}

function planFor({ url, token }: Account, container: string, trust: Trust): LoadPlan {
  const secure = url.protocol === 'https:';
  return {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: Number(url.port || (secure ? 443 : 80)),
    connections: 1,
    seconds: 1,
    method: 'PUT',
    path: `${url.pathname.replace(/\/$/, '')}/${container}/%`,
    keys: 1,
    order: 'sequential',
    bodyBytes: 0,
    headers: { 'X-Auth-Token': token },
    ...(secure && { tls: trust }),
  };
}

function bytesOf(operation: string, bodyBytes: number): number {
  return operation === 'PUT' || operation === 'GET' ? bodyBytes : 0;
}

function print(results: readonly Measured[]): void {
  printTable(
    ['operation', 'requests', '/s', 'MB/s', 'p50 ms', 'p99 ms', 'errors'],
    results.map(({ operation, requests, perSecond, bytesPerSecond, p50Ms, p99Ms, errors }) => [
      operation,
      String(requests),
      perSecond.toFixed(0),
      bytesPerSecond === 0 ? '-' : (bytesPerSecond / 1e6).toFixed(1),
      p50Ms.toFixed(1),
      p99Ms.toFixed(1),
      String(errors),
    ]),
  );
}
