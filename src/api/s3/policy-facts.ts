/** What a policy may ask about a request: who, from where, and with which parameters. */
import { TLSSocket } from 'node:tls';
import { type Caller, projectOf } from '#auth/caller.ts';
import type { Facts } from '#auth/policy/conditions.ts';
import { parseBasicTime } from '#auth/sigv4-claim.ts';
import { arnOf } from '#identity/iam/names.ts';
import { percentDecode } from '../http/utf8.ts';
import { refuse } from './errors.ts';
import type { S3Request } from './request.ts';

const DAY_MS = 24 * 3600 * 1000;

/** What is asked about. */
export interface Subject {
  readonly account: string;
  /** Of the object that is there, when the policy asks for them. */
  readonly tags?: Readonly<Record<string, string>> | undefined;
}

/** Asking for one that is too long throws. @throws S3Error InvalidRequest */
export function factsOf(request: S3Request, subject: Subject): Facts {
  return (key) => {
    const value = factOf(request, key, subject);
    if (typeof value === 'string' && value.length > MAX_COMPARED) throw tooLong(key);
    return typeof value === 'string' ? [value] : value;
  };
}

/**
 * No honest header or parameter is longer. A pattern takes its length times the text's, and both may be
 * somebody's who wants to keep the processor busy; what is too long can neither fit nor not fit.
 */
const MAX_COMPARED = 2048;

function tooLong(key: string) {
  return refuse('InvalidRequest', `${key} is too long to be compared with what policies say of it`);
}

type Fact = string | readonly string[] | undefined;

const SIMPLE: Readonly<Record<string, (request: S3Request, subject: Subject) => Fact>> = {
  'aws:sourceip': ({ origin }) => origin.address,
  'aws:securetransport': ({ origin }) => String(origin.isSecure),
  'aws:referer': (request) => request.header('referer'),
  'aws:useragent': (request) => request.header('user-agent'),
  'aws:currenttime': ({ nowMicros }) => new Date(nowMicros / 1000).toISOString(),
  'aws:epochtime': ({ nowMicros }) => String(Math.floor(nowMicros / 1e6)),
  // Who has taken on a role has no name of their own in it.
  'aws:username': ({ caller }) =>
    caller.kind === 'user' && caller.assumedRole === undefined ? caller.userName : undefined,
  'aws:userid': ({ caller }) => (caller.kind === 'user' ? caller.userId : undefined),
  'aws:principalaccount': ({ caller }) => (caller.kind === 'user' ? caller.projectId : undefined),
  'aws:principaltype': ({ caller }) => principalType(caller),
  'aws:principalarn': ({ caller }) => principalArn(caller),
  // A cloud's services never call here.
  'aws:principalisawsservice': () => 'false',
  'aws:viaawsservice': () => 'false',
  'aws:resourceaccount': (_, { account }) => projectOf(account),
  's3:resourceaccount': (_, { account }) => projectOf(account),
  'aws:requestedregion': ({ signature }) => signature?.chunks?.scope.region,
  's3:prefix': ({ query }) => query.get('prefix'),
  's3:locationconstraint': ({ givenLocation }) => givenLocation,
  's3:delimiter': ({ query }) => query.get('delimiter'),
  's3:max-keys': ({ query }) => query.get('max-keys'),
  's3:versionid': ({ query }) => query.get('versionId'),
  's3:if-match': (request) => request.header('if-match'),
  's3:if-none-match': (request) => request.header('if-none-match'),
  's3:object-lock-mode': (request) => request.said('x-amz-object-lock-mode'),
  's3:object-lock-retain-until-date': (request) =>
    request.said('x-amz-object-lock-retain-until-date'),
  's3:object-lock-legal-hold': (request) => request.said('x-amz-object-lock-legal-hold'),
  's3:object-lock-remaining-retention-days': retentionDays,
  's3:signatureage': signatureAge,
  's3:tlsversion': tlsVersion,
  's3:signatureversion': ({ signature }) =>
    signature && (signature.version === 4 ? 'AWS4-HMAC-SHA256' : 'AWS'),
  's3:authtype': ({ signature }) => signature && AUTH_TYPES[signature.form],
};

function principalType(caller: Caller): string {
  if (caller.kind !== 'user') return 'Anonymous';
  return caller.assumedRole === undefined ? 'User' : 'AssumedRole';
}

function principalArn(caller: Caller): string | undefined {
  if (caller.kind !== 'user' || caller.projectId === undefined) return undefined;
  const { projectId, userName, assumedRole } = caller;
  return assumedRole === undefined
    ? arnOf(projectId, 'user', userName)
    : arnOf(projectId, 'role', assumedRole.name);
}

const AUTH_TYPES = { header: 'REST-HEADER', query: 'REST-QUERY-STRING', post: 'POST' } as const;

function factOf(request: S3Request, key: string, subject: Subject): Fact {
  const simple = Object.hasOwn(SIMPLE, key) ? SIMPLE[key] : undefined;
  if (simple !== undefined) return simple(request, subject);
  if (key === 's3:x-amz-copy-source') return copySource(request);
  if (key.startsWith('s3:x-amz-')) return request.said(key.slice('s3:'.length));
  if (key.startsWith(EXISTING_TAG)) return tagValue(subject.tags, key.slice(EXISTING_TAG.length));
  if (key.startsWith('s3:requestobjecttag')) return requestTag(request, key);
  return undefined;
}

export const EXISTING_TAG = 's3:existingobjecttag/';

function tagValue(tags: Readonly<Record<string, string>> | undefined, name: string): Fact {
  const found = Object.entries(tags ?? {}).find(([own]) => own.toLowerCase() === name);
  return found?.[1];
}

/** As bucket and key, whatever its form: an escape or a slash more would get around a policy. */
function copySource(request: S3Request): string | undefined {
  const [path = ''] = request.said('x-amz-copy-source')?.split('?') ?? [];
  return path === '' ? undefined : percentDecode(path)?.replace(/^\//, '');
}

/** How long ago it was signed, in milliseconds. */
function signatureAge({ signature, nowMicros }: S3Request): string | undefined {
  const date = signature?.chunks?.scope.date;
  const signedMs = date === undefined ? undefined : parseBasicTime(date);
  return signedMs === undefined ? undefined : String(Math.floor(nowMicros / 1000 - signedMs));
}

function tlsVersion({ incoming }: S3Request): string | undefined {
  const { socket } = incoming;
  const protocol = socket instanceof TLSSocket ? socket.getProtocol() : null;
  return protocol?.replace(/^TLSv/, '');
}

function retentionDays(request: S3Request): string | undefined {
  const until = Date.parse(request.said('x-amz-object-lock-retain-until-date') ?? '');
  if (Number.isNaN(until)) return undefined;
  return String(Math.ceil((until - request.nowMicros / 1000) / DAY_MS));
}

function requestTag(request: S3Request, key: string): Fact {
  const given = request.givenTags ?? Object.fromEntries(headerTags(request));
  const pairs = Object.entries(given);
  if (key === 's3:requestobjecttagkeys') {
    return pairs.length === 0 ? undefined : pairs.map(([name]) => name);
  }
  return tagValue(given, key.slice('s3:requestobjecttag/'.length));
}

function headerTags(request: S3Request): URLSearchParams {
  return new URLSearchParams(request.header('x-amz-tagging') ?? '');
}
