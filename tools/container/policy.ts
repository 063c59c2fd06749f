/** `anello container set-policy` and what `anello container show` tells of a change that is under way. */
import type { Command } from 'commander';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import {
  type Answer,
  addEndpointOptions,
  type EndpointOptions,
  getJson,
  reasonOf,
  sendJson,
  storageUrls,
} from '../endpoint.ts';
import { pathOf } from '../placement/copies.ts';

const statusSchema = z.object({
  containers: z.array(
    z.object({
      path: z.string(),
      policy: z.string(),
      mode: z.string(),
      objects: z.number(),
      from: z.string().optional(),
      left: z.string().optional(),
      progress: z
        .object({
          node: z.string(),
          isConfirmed: z.boolean(),
          names: z.number(),
          isWalked: z.boolean(),
          failed: z.number(),
        })
        .optional(),
    }),
  ),
});

const changeSchema = z.object({
  changes: z.array(z.object({ path: z.string(), outcome: z.string(), why: z.string().optional() })),
});

type Status = z.infer<typeof statusSchema>['containers'][number];

const TIMEOUT_MS = 30_000;

export function addSetPolicy(parent: Command): void {
  addEndpointOptions(parent.command('set-policy <name> <policy>'))
    .description('moves a container, and all it has, to another storage policy')
    .addHelpText(
      'after',
      `
The name is /ACCOUNT/CONTAINER, or a URL of the object store with it. The policy must have the same
consistency mode. Clients go on meanwhile; storage nodes copy the objects, and "anello container show"
says how far they are. Setting the former policy again goes back.

Examples:
  anello container set-policy /AUTH_demo/photos bulk
  anello container show /AUTH_demo/photos`,
    )
    .action(setPolicy);
}

async function setPolicy(name: string, policy: string, options: EndpointOptions): Promise<void> {
  const order = { path: pathOf(name), policy };
  const answer = await first(options, (url) => sendJson('POST', `${url}/container-policy`, order));
  const parsed = 'error' in answer ? undefined : changeSchema.safeParse(answer.value);
  if (!parsed?.success) throw new OperatingError('wrong-use', reasonOf(answer));
  const { changes } = parsed.data;
  if (options.json) console.log(JSON.stringify({ changes }, null, 2));
  else
    for (const { path, outcome, why } of changes)
      console.log(`${path}: ${told(outcome, policy, why)}`);
  const isRefused = changes.some(({ outcome }) => outcome === 'refused' || outcome === 'conflict');
  if (isRefused) process.exitCode = 1;
}

function told(outcome: string, policy: string, why: string | undefined): string {
  switch (outcome) {
    case 'begun':
      return `moving to ${policy}`;
    case 'under-way':
      return `on its way to ${policy} already`;
    case 'same':
      return `has the policy ${policy}`;
    case 'conflict':
      return 'somebody else changes it at the same time: try again';
    default:
      return `refused: ${why ?? outcome}`;
  }
}

/** A line for each container that is moving, of a bucket also those that belong to it. */
export async function movesOf(options: EndpointOptions, path: string): Promise<string[]> {
  const target = `/container-policy?path=${encodeURIComponent(path)}`;
  const answer = await first(options, (url) => getJson(url + target, TIMEOUT_MS));
  const parsed = 'error' in answer ? undefined : statusSchema.safeParse(answer.value);
  return parsed?.success ? parsed.data.containers.flatMap(lineOf) : [];
}

function lineOf({ path, policy, objects, from, left, progress }: Status): string[] {
  if (from === undefined && left === undefined) return [];
  const what =
    from === undefined ? `removing what is left in ${left}` : `moving from ${from} to ${policy}`;
  if (progress === undefined) return [`${path}: ${what}: not begun yet`];
  const { node, isConfirmed, names, isWalked, failed } = progress;
  const done = isConfirmed
    ? `${names} names gone through (${objects} objects)${isWalked ? ', waiting for proxies' : ''}`
    : "waiting for all of the container's replicas";
  return [`${path}: ${what}: ${done}${failed > 0 ? `, ${failed} failed` : ''}, by ${node}`];
}

/** The first storage node that says anything of it: of `--endpoint` it is not known whether it is one. */
async function first(
  options: EndpointOptions,
  ask: (url: string) => Promise<Answer>,
): Promise<Answer> {
  let last: Answer = { error: 'there is no storage node' };
  for (const { url } of storageUrls(options)) {
    last = await ask(url);
    if (!('error' in last) && last.status !== 503) return last;
  }
  return last;
}
