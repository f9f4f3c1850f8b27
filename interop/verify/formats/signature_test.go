package formats

import (
	"bytes"
	"crypto/ed25519"
	"math/big"
	"testing"
)

// The curve of RFC 8032, in big numbers: to find out which points are of small order.
var (
	prime = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	curve = func() *big.Int {
		d := new(big.Int).ModInverse(big.NewInt(121666), prime)
		return d.Mod(d.Mul(d, big.NewInt(-121665)), prime)
	}()
)

// xOf is an x of the points with this y, nil if there are none.
func xOf(y *big.Int) *big.Int {
	square := new(big.Int).Mul(y, y)
	above := new(big.Int).Sub(square, big.NewInt(1))
	below := new(big.Int).Add(new(big.Int).Mul(curve, square), big.NewInt(1))
	quotient := above.Mul(above, below.ModInverse(below.Mod(below, prime), prime))
	return new(big.Int).ModSqrt(quotient.Mod(quotient, prime), prime)
}

func double(x, y *big.Int) (*big.Int, *big.Int) {
	mul := func(a, b *big.Int) *big.Int { return new(big.Int).Mod(new(big.Int).Mul(a, b), prime) }
	over := func(a, b *big.Int) *big.Int {
		return mul(a, new(big.Int).ModInverse(new(big.Int).Mod(b, prime), prime))
	}
	one := big.NewInt(1)
	product := mul(curve, mul(mul(x, x), mul(y, y)))
	twice := mul(big.NewInt(2), mul(x, y))
	sum := new(big.Int).Add(mul(y, y), mul(x, x))
	return over(twice, new(big.Int).Add(one, product)), over(sum, new(big.Int).Sub(one, product))
}

func littleEndian(number *big.Int) []byte {
	out := number.FillBytes(make([]byte, 32))
	for i := 0; i < 16; i++ {
		out[i], out[31-i] = out[31-i], out[i]
	}
	return out
}

// TestSmallOrder is that the table has the y of all eight points of small order and no other, in every encoding.
func TestSmallOrder(t *testing.T) {
	points := 0
	for _, encoded := range smallOrder {
		reversed := append([]byte(nil), encoded...)
		for i := 0; i < 16; i++ {
			reversed[i], reversed[31-i] = reversed[31-i], reversed[i]
		}
		written := new(big.Int).SetBytes(reversed)
		y := new(big.Int).Mod(written, prime)
		x := xOf(y)
		if x == nil {
			t.Fatalf("%x is no point", encoded)
		}
		for _, n := range []int{1, 2, 3} {
			if n > 0 {
				x, y = double(x, y)
			}
		}
		same(t, "eight times it", [2]string{x.String(), y.String()}, [2]string{"0", "1"})
		y.Mod(written, prime)
		if written.Cmp(prime) < 0 {
			if xOf(y).Sign() == 0 {
				points++ // one, whatever the sign that is written
			} else {
				points += 2
			}
		}
		// It may be written a second time if that is below 2^255.
		if again := new(big.Int).Add(y, prime); again.BitLen() <= 255 && !isSmallOrder(littleEndian(again)) {
			t.Errorf("%x is missing", littleEndian(again))
		}
	}
	same(t, "points", points, 8)
}

// TestStrict is what many libraries take for a signature: under a key of small order everything is signed.
func TestStrict(t *testing.T) {
	key := append([]byte{1}, make([]byte, 31)...)
	// R is the identity and S is 0: [0]B − [k]A is the identity, whatever k.
	signature := append(append([]byte(nil), key...), make([]byte, 32)...)
	same(t, "the library takes it", ed25519.Verify(key, []byte("anything"), signature), true)
	same(t, "strictly", verifySignature(key, signature, []byte("anything")), false)

	// With the group order added to S it is another signature for the same message.
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	good := ed25519.Sign(private, []byte("message"))
	public := private.Public().(ed25519.PublicKey)
	same(t, "a good one", verifySignature(public, good, []byte("message")), true)
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	reversed := append([]byte(nil), good[32:]...)
	for i := 0; i < 16; i++ {
		reversed[i], reversed[31-i] = reversed[31-i], reversed[i]
	}
	more := littleEndian(order.Add(order, new(big.Int).SetBytes(reversed)))
	same(t, "S beyond the order", verifySignature(public, append(good[:32:32], more...), []byte("message")), false)
	for _, size := range []int{0, 63, 65} {
		same(t, "another length", verifySignature(public, make([]byte, size), []byte("message")), false)
	}
}
