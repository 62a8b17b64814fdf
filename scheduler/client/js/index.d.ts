/** What a CodeCaller works on. */
export interface CourseOptions {
  course: string;
  /** A commit, or "current" (the default), which is resolved once per session. */
  version?: string;
  /** The question whose files the sandbox sees. */
  question?: string;
  courseInstance?: string;
  assessment?: string;
  /** Modules whose import fails. */
  forbiddenModules?: string[];
}

export interface Options {
  /** Base URL of the gateway, as in "http://127.0.0.1:7300". */
  gateway: string;
  token?: string;
  /** Milliseconds for one call; default 20 s. */
  timeout?: number;
}

export type CallType = 'question' | 'course-element' | 'core-element';

export interface CallResult {
  result: any;
  /** What the call printed. */
  output: string;
}

/** The function does not exist, which is no mistake of the course. */
export class FunctionMissingError extends Error {}

/** The call failed. retryable: through no fault of the course, begin anew. */
export class CodeCallerError extends Error {
  retryable: boolean;
  output: string;
  data: any;
}

/** One sandbox at a time, opened by the first call and kept until restart or done. */
export class CodeCaller {
  constructor(options: Options);
  prepareForCourse(options: CourseOptions): Promise<void>;
  call(type: CallType, directory: string | null, file: string | null, fcn: string | null, args: any[]): Promise<CallResult>;
  /** Gives the sandbox up; the next call begins in a fresh one. */
  restart(): Promise<boolean>;
  done(): void;
  /** The version that the open session runs, or null. */
  readonly version: string | null;
}

export interface Program {
  files: { basename: string; contents: string; encoding?: 'utf8' | 'base64' }[];
  main?: string;
  mode?: 'run' | 'compile' | 'submit' | 'prove' | 'prove_flow' | 'prove_report_all' | 'prove_flow_report_all';
  switches?: Record<string, string[]>;
  /** A label. */
  name?: string;
  lab?: boolean;
  /** Told by the files' suffixes for Ada, C and C++. */
  runtime?: string;
}

export interface Frame {
  output: { type: 'console' | 'stdout' | 'stderr' | 'lab' | 'internal_error'; data: any; /** A lab's case. */ ref?: string }[];
  /** The exit code, once completed. */
  status: number;
  completed: boolean;
  message: string;
}

/** Runs a program and yields its frames as they come; the last one is completed. */
export function execute(program: Program, options: Options): AsyncGenerator<Frame, void>;
