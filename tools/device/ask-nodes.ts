/** Asks the storage nodes of a running cluster, and tells of those that do not answer. */
import type { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { type Answer, type EndpointOptions, reasonOf, storageUrls } from '../endpoint.ts';

export interface NodeAnswer<Value> {
  readonly node: string;
  readonly value: Value;
}

/** @throws OperatingError `no-answer` where none answers */
export async function askNodes<Value>(
  options: EndpointOptions,
  schema: z.ZodType<Value>,
  ask: (url: string) => Promise<Answer>,
): Promise<NodeAnswer<Value>[]> {
  const found: NodeAnswer<Value>[] = [];
  const answers = storageUrls(options).map(async ({ name, url }) => ({
    name,
    got: await ask(url),
  }));
  for (const { name, got } of await Promise.all(answers)) {
    const parsed = 'error' in got ? undefined : schema.safeParse(got.value);
    if (parsed?.success) found.push({ node: name, value: parsed.data });
    else console.error(`${name}: ${reasonOf(got)}`);
  }
  if (found.length === 0) throw new OperatingError('no-answer', 'none of the storage nodes did it');
  return found;
}
