import type { Device } from "../device/device.ts";
import type { DType, Tensor } from "../tensor.ts";

/** Allocates tensors that live and die together. */
export class Arena {
  readonly #tensors: Tensor<DType>[] = [];

  constructor(readonly device: Device) {}

  /** See `Device.empty`. */
  empty<D extends DType = "f32">(shape: readonly number[], dtype?: D): Tensor<D> {
    return this.#keep(this.device.empty(shape, dtype));
  }

  /** See `Device.zeros`. */
  zeros<D extends DType = "f32">(shape: readonly number[], dtype?: D): Tensor<D> {
    return this.#keep(this.device.zeros(shape, dtype));
  }

  #keep<D extends DType>(tensor: Tensor<D>): Tensor<D> {
    this.#tensors.push(tensor);
    return tensor;
  }

  dispose(): void {
    for (const tensor of this.#tensors.splice(0)) tensor.dispose();
  }
}
