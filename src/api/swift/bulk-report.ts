/** What bulk operations and manifest checks report: facts, then a list of what failed and why. */

import { percentEncodePath } from '../http/utf8.ts';
import { escapeXml } from '../http/xml.ts';
import { bestMatch } from './accept.ts';
import { refuse } from './errors.ts';
import type { SwiftRequest } from './request.ts';

/** The path is percent-encoded, so that every name fits a line of text. */
export type Problem = readonly [path: string, status: string];
export type ReportRoot = 'upload' | 'delete';
export type Facts = Readonly<Record<string, string | number>>;

const FORMATS = ['text/plain', 'application/json', 'application/xml', 'text/xml'] as const;
export type ReportFormat = (typeof FORMATS)[number];

/** @throws Refusal 406 */
export function chooseReportFormat(request: SwiftRequest): ReportFormat {
  const format = bestMatch(request.header('accept'), FORMATS);
  if (format === undefined) throw refuse('not-acceptable');
  return format;
}

export function problem(path: string, status: string): Problem {
  return [percentEncodePath(path), status];
}

export function reportBody(
  format: ReportFormat,
  root: ReportRoot,
  facts: Facts,
  problems: readonly Problem[],
): string {
  switch (format) {
    case 'application/json':
      return JSON.stringify({ ...facts, Errors: problems });
    case 'application/xml':
    case 'text/xml':
      return xmlReport(root, facts, problems);
    case 'text/plain':
      return plainReport(facts, problems);
  }
}

function plainReport(facts: Facts, problems: readonly Problem[]): string {
  const lines = Object.keys(facts)
    .sort()
    .map((key) => `${key}: ${facts[key]}\n`);
  const errors = problems.map(([path, status]) => `${path}, ${status}`);
  return `${lines.join('')}Errors:\n${errors.join('\n')}`;
}

function xmlReport(root: string, facts: Facts, problems: readonly Problem[]): string {
  const fields = Object.keys(facts)
    .sort()
    .map((key) => {
      const tag = key.replaceAll(' ', '_').toLowerCase();
      return `<${tag}>${escapeXml(String(facts[key]))}</${tag}>`;
    });
  const errors = problems.map(
    ([path, status]) =>
      `<object><name>${escapeXml(path)}</name><status>${escapeXml(status)}</status></object>`,
  );
  return `<${root}>\n${fields.join('\n')}\n<errors>\n${errors.join('\n')}</errors>\n</${root}>\n`;
}
