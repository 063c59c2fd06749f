/**
 * Deleting many things in one request. Objects go several at once; a container waits for all that
 * was named before it, since its own objects are usually among them.
 */
import { codeOf } from '#base/errors.ts';
import type { ContainerName, ObjectName } from '#base/names.ts';
import { parallel } from '../http/parallel.ts';
import { decideAt } from './access.ts';
import { type Problem, problem } from './bulk-report.ts';
import { answerTo, statusLine } from './errors.ts';
import type { SwiftRequest } from './request.ts';

export interface Doomed {
  readonly container: string;
  /** Absent: the container itself. */
  readonly object?: string;
  /** That version of the object, for good. */
  readonly version?: string;
}

export interface Tally {
  deleted: number;
  notFound: number;
  readonly problems: Problem[];
}

export function emptyTally(): Tally {
  return { deleted: 0, notFound: 0, problems: [] };
}

export async function deleteAll(
  request: SwiftRequest,
  doomed: readonly Doomed[],
  tally: Tally,
): Promise<void> {
  const limit = request.service.limits.bulkConcurrency;
  const deleteOne = (item: Doomed): Promise<void> => deleteItem(request, item, tally);
  let batch: Doomed[] = [];
  for (const item of doomed) {
    if (item.object !== undefined) {
      batch.push(item);
      continue;
    }
    await parallel(batch, limit, deleteOne);
    batch = [];
    await deleteOne(item);
  }
  await parallel(batch, limit, deleteOne);
}

async function deleteItem(request: SwiftRequest, item: Doomed, tally: Tally): Promise<void> {
  if (request.signal.aborted) throw request.signal.reason;
  const status = await statusOfDelete(request, item);
  if (status === 204) tally.deleted += 1;
  else if (status === 404) tally.notFound += 1;
  else tally.problems.push(problem(shownPath(item), statusLine(status)));
}

async function statusOfDelete(request: SwiftRequest, item: Doomed): Promise<number> {
  const { container, object } = item;
  const name: ContainerName = { account: request.account, container };
  try {
    const operation = object === undefined ? 'admin' : 'write';
    const decision = await decideAt(request, name, operation);
    if (!decision.allowed) return decision.status;
    const outcome =
      object === undefined
        ? await request.service.store.deleteContainer(request, name)
        : await deleteOf(request, { ...name, object }, item.version);
    return STATUS_OF[outcome] ?? 404;
  } catch (error) {
    if (codeOf(error) === 'client-gone') throw error;
    return answerTo(codeOf(error)).status;
  }
}

const STATUS_OF: Readonly<Record<string, number>> = { deleted: 204, 'not-empty': 409, locked: 403 };

async function deleteOf(
  request: SwiftRequest,
  name: ObjectName,
  version: string | undefined,
): Promise<string> {
  const { store } = request.service;
  if (version === undefined) return await store.deleteObject(request, name);
  return (await store.removeObject(request, { ...name, version })).kind;
}

function shownPath({ container, object }: Doomed): string {
  return object === undefined ? `/${container}` : `/${container}/${object}`;
}
