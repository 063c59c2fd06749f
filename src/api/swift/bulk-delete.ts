/**
 * POST or DELETE ?bulk-delete: one percent-encoded `/container` or `/container/object` a line. The
 * status line says 200 before the work is done; what became of it stands in the body, as in Swift.
 */

import { collect } from '../http/request-body.ts';
import { byteLength, percentDecode } from '../http/utf8.ts';
import { chooseReportFormat, type Problem, problem } from './bulk-report.ts';
import { type Doomed, deleteAll, emptyTally, type Tally } from './deletions.ts';
import { refuse, statusLine } from './errors.ts';
import { bodyOf, declaredLength, sendContinue } from './object-upload.ts';
import { type Failure, failureOf, replyWithReport } from './report.ts';
import type { SwiftRequest } from './request.ts';

/** Percent-encoded, a name is three times as long; two slashes and the line's end. */
function maxBodyBytes(request: SwiftRequest): number {
  const { maxDeletesPerRequest, maxContainerNameBytes, maxObjectNameBytes } =
    request.service.limits;
  return maxDeletesPerRequest * (3 * (maxContainerNameBytes + maxObjectNameBytes) + 4);
}

export async function bulkDelete(request: SwiftRequest): Promise<void> {
  const limit = maxBodyBytes(request);
  const length = declaredLength(request, limit);
  chooseReportFormat(request);
  sendContinue(request);
  const body = await collect(bodyOf(request, length, limit));
  await reportDeletions(request, async (tally) => {
    const { doomed, problems } = parseLines(request, body.toString('latin1'));
    tally.problems.push(...problems);
    if (doomed.length > request.service.limits.maxDeletesPerRequest) {
      const most = request.service.limits.maxDeletesPerRequest;
      throw refuse('body-too-large', `Maximum Bulk Deletes: ${most} per request`);
    }
    await deleteAll(request, doomed, tally);
  });
}

function parseLines(
  request: SwiftRequest,
  text: string,
): { doomed: Doomed[]; problems: Problem[] } {
  const doomed: Doomed[] = [];
  const problems: Problem[] = [];
  const { maxContainerNameBytes, maxObjectNameBytes } = request.service.limits;
  for (const line of text.split('\n')) {
    const raw = line.trim();
    if (raw === '') continue;
    const path = percentDecode(raw);
    const item = path === undefined ? undefined : parsePath(path);
    if (item === undefined) {
      problems.push([raw.slice(0, maxObjectNameBytes), statusLine(412)]);
    } else if (
      byteLength(item.container) > maxContainerNameBytes ||
      byteLength(item.object ?? '') > maxObjectNameBytes
    ) {
      problems.push(problem(path!, statusLine(400)));
    } else {
      doomed.push(item);
    }
  }
  return { doomed, problems };
}

function parsePath(path: string): Doomed | undefined {
  const start = path.startsWith('/') ? 1 : 0;
  const slash = path.indexOf('/', start);
  const container = path.slice(start, slash < 0 ? undefined : slash);
  if (container === '') return undefined;
  const object = slash < 0 ? '' : path.slice(slash + 1);
  return object === '' ? { container } : { container, object };
}

/** Answers 200 at once, runs `work`, then writes the report. */
export async function reportDeletions(
  request: SwiftRequest,
  work: (tally: Tally) => Promise<void>,
): Promise<void> {
  await replyWithReport(request, 200, 'delete', async () => {
    const tally = emptyTally();
    let failure: Failure | undefined;
    try {
      await work(tally);
    } catch (error) {
      failure = failureOf(error);
    }
    return { facts: factsOf(tally, failure), problems: tally.problems };
  });
}

function factsOf(tally: Tally, failure: Failure | undefined): Record<string, string | number> {
  let status = failure?.status ?? statusOf(tally.problems);
  let text = failure?.text ?? '';
  if (status === 200 && tally.deleted === 0 && tally.notFound === 0) {
    status = 400;
    text = 'Invalid bulk delete.';
  }
  return {
    'Response Status': statusLine(status),
    'Response Body': text,
    'Number Deleted': tally.deleted,
    'Number Not Found': tally.notFound,
  };
}

/** 401 if anything was not allowed without a token, 503 if the store could not, else 400. */
function statusOf(problems: readonly Problem[]): number {
  if (problems.length === 0) return 200;
  const statuses = problems.map(([, status]) => Number.parseInt(status, 10));
  if (statuses.includes(401)) return 401;
  return statuses.some((status) => status >= 500) ? 503 : 400;
}
