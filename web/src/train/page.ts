import { h } from "../ui/dom.ts";
export const trainPage = () => h("div", {}, h("h1", {}, "Train"));
