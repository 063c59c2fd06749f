/**
 * What a bucket shows as a website, as its container header `s3-website` keeps it, and which routing rule
 * is about a request.
 *
 *     {"v":1,"index":"index.html","error":"404.html","rules":[{"prefix":"old/","code":301,
 *       "replacePrefix":"new/"}]}
 *     {"v":1,"all":{"host":"example.org","protocol":"https"},"rules":[]}
 */
import { OperatingError } from '#base/errors.ts';

export const WEBSITE_HEADER = 's3-website';
const VERSION = 1;

export interface Redirection {
  readonly host?: string;
  readonly protocol?: 'http' | 'https';
}

export interface RoutingRule extends Redirection {
  /** Which keys, and after which error; neither: every request. */
  readonly prefix?: string;
  readonly error?: number;
  readonly code?: number;
  readonly replaceKey?: string;
  readonly replacePrefix?: string;
}

export interface Website {
  /** Everything goes there; then there is nothing else. */
  readonly all?: Redirection;
  readonly index?: string;
  readonly error?: string;
  readonly rules: readonly RoutingRule[];
}

export function encodeWebsite(website: Website): string {
  return JSON.stringify({ v: VERSION, ...website });
}

/** What `encodeWebsite` made. @throws OperatingError `newer-format` */
export function decodeWebsite(text: string): Website {
  const { v, ...website } = JSON.parse(text) as Website & { readonly v: number };
  if (v <= VERSION) return website;
  throw new OperatingError('newer-format', 'a website of a newer version', { version: v });
}

/** The first rule about this key: `error` undefined asks before the object is looked at. */
export function ruleFor(
  { rules }: Website,
  key: string,
  error: number | undefined,
): RoutingRule | undefined {
  return rules.find((rule) => rule.error === error && key.startsWith(rule.prefix ?? ''));
}

/** Where it leads, as a key. */
export function replacedKey(
  { prefix = '', replaceKey, replacePrefix }: RoutingRule,
  key: string,
): string {
  if (replaceKey !== undefined) return replaceKey;
  return replacePrefix === undefined ? key : replacePrefix + key.slice(prefix.length);
}
