import { DramascopeError } from "@dramascope/schema";

/** Something a report cannot show, such as a picture of an unknown type. Missing numbers never cause one. */
export class ReportError extends DramascopeError {}
