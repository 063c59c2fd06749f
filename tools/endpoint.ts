/**
 * How verbs find a running cluster: `--data DIR` reads what `anello up` wrote there, `--endpoint URL`
 * names one process's admin HTTP.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import type { Command } from 'commander';
import { z } from 'zod';
import { messageOf, OperatingError } from '#base/errors.ts';
import { readJsonFile } from './up/json-file.ts';

const TIMEOUT_MS = 5000;

export interface EndpointOptions {
  readonly data: string;
  readonly endpoint?: string;
  readonly json?: boolean;
}

export function addEndpointOptions(command: Command): Command {
  return command
    .option('--data <dir>', "the cluster's data folder", './data')
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

/** Admin base URLs, workers included. */
export function adminUrls(options: EndpointOptions): { name: string; url: string }[] {
  if (options.endpoint !== undefined)
    return [{ name: options.endpoint, url: options.endpoint.replace(/\/$/, '') }];
  return readNodes(options.data).flatMap((node) => [
    { name: node.name, url: `http://127.0.0.1:${node.ports.admin}` },
    ...node.ports.workerAdmin.map((port, n) => ({
      name: `${node.name}/worker-${n + 1}`,
      url: `http://127.0.0.1:${port}`,
    })),
  ]);
}

/** Those of storage nodes; of the one named by `--endpoint` it is not known. */
export function storageUrls(options: EndpointOptions): { name: string; url: string }[] {
  if (options.endpoint !== undefined) return adminUrls(options);
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
    return { error: messageOf(error) };
  }
}
