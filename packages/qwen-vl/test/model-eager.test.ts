import { describeModelOn } from "./model/on.ts";

await describeModelOn("eager");
