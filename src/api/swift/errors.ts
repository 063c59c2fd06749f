/**
 * The one table from what went wrong to what a Swift client is told. Codes of the store and of this
 * folder share it; a code that is not here is our own fault: 500.
 */
import { STATUS_CODES } from 'node:http';
import { codeOf, OperatingError } from '#base/errors.ts';
import { retryAfter } from '../http/retry-after.ts';

interface Answer {
  readonly status: number;
  /** Plain text instead of Swift's page for the status. */
  readonly text?: string;
}

const ANSWERS: Readonly<Record<string, Answer>> = {
  // What the request asks for.
  'bad-request': { status: 400 },
  'unknown-version': { status: 400 },
  unauthorized: { status: 401 },
  forbidden: { status: 403 },
  'not-found': { status: 404 },
  'method-not-allowed': { status: 405 },
  'not-acceptable': { status: 406 },
  'client-timeout': { status: 408 },
  conflict: { status: 409 },
  'length-required': { status: 411, text: 'Missing Content-Length header.' },
  'bad-url': { status: 412, text: 'Bad URL' },
  'bad-name': { status: 412, text: 'Invalid UTF8 or contains NULL' },
  'precondition-failed': { status: 412 },
  'body-too-large': { status: 413, text: 'Your request is too large.' },
  'quota-exceeded': { status: 413, text: 'Upload exceeds quota.' },
  'customer-key-needed': {
    status: 422,
    text: "The object is encrypted with its owner's own key (SSE-C): read it through S3, with the key.",
  },
  'range-not-satisfiable': { status: 416 },
  'etag-mismatch': { status: 422 },
  unprocessable: { status: 422 },
  'not-implemented': { status: 501 },
  // What became of it.
  'client-gone': { status: 499 },
  'length-mismatch': { status: 499 },
  // The container went away while the request was under way.
  'no-container': { status: 404 },
  'container-mismatch': { status: 503 },
  unavailable: { status: 503 },
  undecided: { status: 503 },
  'not-strict': { status: 501 },
  overloaded: { status: 503 },
  'slow-down': { status: 498, text: 'Slow down: too many requests of this account.' },
  timeout: { status: 503 },
  gone: { status: 503 },
  'ring-old': { status: 503 },
  'ring-unknown': { status: 503 },
  'no-ring': { status: 503 },
  'no-policy': { status: 503 },
  'clock-drift': { status: 503 },
  'device-full': { status: 507 },
  'no-such-key': { status: 503 },
  'no-object-keys': { status: 503 },
  'object-key-lost': { status: 503 },
  'sealed-damaged': { status: 503 },
};

const UNKNOWN: Answer = { status: 500 };

export function answerTo(code: string): Answer {
  return ANSWERS[code] ?? UNKNOWN;
}

/** A request that is refused: `text` is told to the client, `headers` are a flat list. */
export class Refusal extends OperatingError {
  override readonly name = 'Refusal';
  readonly text: string | undefined;
  readonly headers: readonly string[];

  constructor(code: string, text: string | undefined, headers: readonly string[]) {
    super(code, text ?? code);
    this.text = text;
    this.headers = headers;
  }
}

export function refuse(code: string, text?: string, headers: readonly string[] = []): Refusal {
  return new Refusal(code, text, headers);
}

export interface ErrorReply {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
  readonly headers: readonly string[];
}

export function errorReply(error: unknown): ErrorReply {
  const answer = answerTo(codeOf(error));
  const text = (error instanceof Refusal ? error.text : undefined) ?? answer.text;
  const headers = error instanceof Refusal ? error.headers : retryAfter(error);
  if (text === undefined) return { ...page(answer.status), headers };
  const contentType = 'text/plain; charset=UTF-8';
  return { status: answer.status, contentType, body: text, headers };
}

/** What each status says, in the words that Swift's users know. */
const PAGES: Readonly<Record<number, readonly [title: string, sentence: string]>> = {
  202: ['Accepted', 'The request is accepted for processing.'],
  400: [
    'Bad Request',
    'The server could not comply with the request since it is either malformed or otherwise incorrect.',
  ],
  401: [
    'Unauthorized',
    'This server could not verify that you are authorized to access the document you requested.',
  ],
  403: ['Forbidden', 'Access was denied to this resource.'],
  404: ['Not Found', 'The resource could not be found.'],
  405: ['Method Not Allowed', 'The method is not allowed for this resource.'],
  406: ['Not Acceptable', 'The resource is not available in a format acceptable to your browser.'],
  408: [
    'Request Timeout',
    'The server has waited too long for the request to be sent by the client.',
  ],
  409: ['Conflict', 'There was a conflict when trying to complete your request.'],
  411: ['Length Required', 'Content-Length header required.'],
  412: ['Precondition Failed', 'A precondition for this request was not met.'],
  413: ['Request Entity Too Large', 'The body of your request was too large for this server.'],
  416: ['Requested Range Not Satisfiable', 'The Range requested is not available.'],
  422: ['Unprocessable Entity', 'Unable to process the contained instructions'],
  498: ['Rate Limited', 'The account has made too many requests.'],
  499: ['Client Disconnect', 'The client was disconnected during request.'],
  500: [
    'Internal Error',
    'The server has either erred or is incapable of performing the requested operation.',
  ],
  501: ['Not Implemented', 'The requested method is not implemented by this server.'],
  503: [
    'Service Unavailable',
    'The server is currently unavailable. Please try again at a later time.',
  ],
  507: ['Insufficient Storage', 'There was not enough space to save the resource.'],
};

export function page(status: number): Omit<ErrorReply, 'headers'> {
  const [title, sentence] = PAGES[status] ?? [STATUS_CODES[status] ?? String(status), ''];
  const body = `<html><h1>${title}</h1><p>${sentence}</p></html>`;
  return { status, contentType: 'text/html; charset=UTF-8', body };
}

/** The reason phrase as Swift writes it: `404 Not Found`. */
export function statusLine(status: number): string {
  return `${status} ${PAGES[status]?.[0] ?? STATUS_CODES[status] ?? ''}`;
}
