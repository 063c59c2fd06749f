/**
 * How verbs find a running cluster: `--data DIR` reads what `anello up` wrote there, `--endpoint URL`
 * names one process's admin HTTP. On a real machine neither is needed: its own file says where its node
 * listens.
 */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Command } from 'commander';
import { parse } from 'yaml';
import { z } from 'zod';
import { messageOf, OperatingError } from '#base/errors.ts';
import { readJsonFile } from './up/json-file.ts';

const TIMEOUT_MS = 5000;
/** The machine's own file, as `anello join` and the package have it. */
export const MACHINE_FILE = '/etc/anello/node.yaml';
const ADMIN_PORT = 7500;

export interface EndpointOptions {
  readonly data: string;
  readonly endpoint?: string;
  readonly json?: boolean;
}

export function addEndpointOptions(command: Command): Command {
  return command
    .option(
      '--data <dir>',
      `data folder of "anello up"; where there is none, the node of ${MACHINE_FILE}`,
      './data',
    )
    .option('--endpoint <url>', 'admin address of one process, instead of --data')
    .option('--json', 'machine-readable output');
}

const nodesSchema = z.array(
  z.object({
    name: z.string(),
    site: z.string(),
    roles: z.array(z.string()),
    pid: z.number().nullable(),
    ports: z.object({ admin: z.number(), workerAdmin: z.array(z.number()).default([]) }).loose(),
    devices: z.array(z.string()),
  }),
);

export type RunningNode = z.infer<typeof nodesSchema>[number];

/** @throws OperatingError `no-cluster` */
export function readNodes(folder: string): RunningNode[] {
  const file = path.join(folder, 'nodes.json');
  if (!existsSync(file)) {
    throw new OperatingError(
      'no-cluster',
      `no cluster in ${folder}: start one with "anello up --data ${folder}"`,
    );
  }
  const result = nodesSchema.safeParse(readJsonFile(file));
  if (!result.success)
    throw new OperatingError('no-cluster', `${file} is not what "anello up" writes`);
  return result.data;
}

export interface NamedUrl {
  readonly name: string;
  readonly url: string;
}

const machineSchema = z.object({
  name: z.string(),
  listen: z
    .object({
      host: z.string().optional(),
      adminHost: z.string().optional(),
      admin: z.number().default(ADMIN_PORT),
    })
    .prefault({}),
});

/** This machine's own node; undefined where no `--data` was meant to be read and there is none. */
function ownMachine({ data }: EndpointOptions): NamedUrl | undefined {
  const file = process.env['ANELLO_CONFIG'] ?? MACHINE_FILE;
  if (existsSync(path.join(data, 'nodes.json')) || !existsSync(file)) return undefined;
  const parsed = machineSchema.safeParse(parse(readFileSync(file, 'utf8')));
  if (!parsed.success) throw new OperatingError('no-cluster', `${file} is not a machine's file`);
  const { name, listen } = parsed.data;
  const host = listen.adminHost ?? listen.host ?? '127.0.0.1';
  const bracketed = host.includes(':') ? `[${host}]` : host;
  return { name, url: `http://${bracketed}:${listen.admin}` };
}

/** The one process that is named, or this machine's own. */
function single(options: EndpointOptions): NamedUrl | undefined {
  if (options.endpoint === undefined) return ownMachine(options);
  if (URL.parse(options.endpoint) === null)
    throw new OperatingError('wrong-use', `--endpoint ${options.endpoint}: not a URL`);
  return { name: options.endpoint, url: options.endpoint.replace(/\/$/, '') };
}

/** Admin base URLs, workers included. */
export function adminUrls(options: EndpointOptions): NamedUrl[] {
  const one = single(options);
  if (one !== undefined) return [one];
  return readNodes(options.data).flatMap((node) => [
    { name: node.name, url: `http://127.0.0.1:${node.ports.admin}` },
    ...node.ports.workerAdmin.map((port, n) => ({
      name: `${node.name}/worker-${n + 1}`,
      url: `http://127.0.0.1:${port}`,
    })),
  ]);
}

/** Those of storage nodes; of the one named by `--endpoint` it is not known. */
export function storageUrls(options: EndpointOptions): NamedUrl[] {
  const one = single(options);
  if (one !== undefined) return [one];
  return readNodes(options.data)
    .filter(({ roles }) => roles.includes('storage'))
    .map(({ name, ports }) => ({ name, url: `http://127.0.0.1:${ports.admin}` }));
}

export type Answer =
  | { readonly status: number; readonly value: unknown }
  | { readonly error: string };

export function getJson(url: string, timeoutMs = TIMEOUT_MS): Promise<Answer> {
  return askJson(url, {}, timeoutMs);
}

/** The first process that answers: they all say the same. @throws OperatingError `no-answer` */
export async function askAny<Value>(
  options: EndpointOptions,
  target: string,
  schema: z.ZodType<Value>,
  timeoutMs = TIMEOUT_MS,
): Promise<Value> {
  const reasons: string[] = [];
  for (const { name, url } of adminUrls(options)) {
    const answer = await getJson(url + target, timeoutMs);
    const parsed = 'error' in answer ? undefined : schema.safeParse(answer.value);
    if (parsed?.success) return parsed.data;
    // A name that is none is none everywhere.
    if ('status' in answer && answer.status === 400)
      throw new OperatingError('wrong-use', reasonOf(answer));
    reasons.push(`${name} ${reasonOf(answer)}`);
  }
  throw new OperatingError('no-answer', `no process answers: ${reasons.join('; ')}`);
}

export function reasonOf(answer: Answer): string {
  if ('error' in answer) return `does not answer: ${answer.error}`;
  const { error } = (answer.value ?? {}) as { error?: unknown };
  return typeof error === 'string' ? error : 'an answer of another version';
}

/** With a JSON body. */
export function sendJson(method: 'POST' | 'DELETE', url: string, body: unknown): Promise<Answer> {
  const headers = { 'content-type': 'application/json' };
  return askJson(url, { method, headers, body: JSON.stringify(body) }, TIMEOUT_MS);
}

async function askJson(url: string, init: RequestInit, timeoutMs: number): Promise<Answer> {
  try {
    const response = await fetch(url, { ...init, signal: AbortSignal.timeout(timeoutMs) });
    return { status: response.status, value: await response.json() };
  } catch (error) {
    return { error: reasonFor(error) };
  }
}

/** What fetch hides behind `fetch failed`; and who answers without JSON is no admin port. */
export function reasonFor(error: unknown): string {
  if (error instanceof SyntaxError) return 'what answers there is no admin port';
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return messageOf(cause) || messageOf(error);
}
