# frozen_string_literal: true

# Which program moves which jobs, and what the doctor reports.

# The lines of the doctor's report, and whether it found no error.
def doctor(*args)
  env = { "VERK_QUEUES" => "default:5", "VERK_NODE_ID" => "doctor" }
  output = IO.popen(env, [ENV.fetch("VERK_DOCTOR"), *args], &:read)
  [output.lines(chomp: true), $?.success?]
end

def assert_line(pattern, lines) = assert(lines.grep(pattern).one?, "not one #{pattern.inspect} in:\n#{lines.join("\n")}")

def member(key, jid) = redis { |r| r.zrange(key, 0, -1) }.find { |job| job.include?(jid) }

own = { "VERK_SCHEDULE_KEYS" => "own" }
default = Sidekiq::Queue.new("default")
soon = -> { Time.now.to_f - 1 }
failed = nil

with_rust("default:5", own) do |rust|
  check "schedule_keys = own: a retry of Rust is where Sidekiq does not look" do
    failed = Payments::Charge.perform_async(4000, 3)
    rust.wait_for(failed)
    wait_until("the retry") { member("verk:retry", failed) }
    assert_equal 0, retries.size, "Sidekiq's retries"
  end

  check "schedule_keys = own: Rust leaves to Ruby what Ruby scheduled" do
    theirs = Payments::Charge.perform_in(3600, 4100, 1)
    make_due(scheduled, theirs)
    ours = redis { |r| r.zrange("verk:retry", 0, -1) }.first
    redis { |r| r.zadd("verk:retry", soon.call, ours) }
    rust.wait_for(failed, nth: 2) # by then it has read what is due
    wait_until_idle
    assert member("verk:retry", failed), "it failed again, and is not in verk:retry"
    assert_equal [theirs], scheduled.map(&:jid), "what Ruby scheduled"
  end
end

# Elixir's Verk would have written these.
strings = { "error_message" => nil, "failed_at" => nil, "retry_count" => 0, "queue" => "default", "class" => "Payments::Charge",
            "args" => "[4200,1]", "finished_at" => nil, "enqueued_at" => 1_732_387_200, "retried_at" => nil, "created_at" => nil,
            "error_backtrace" => nil, "max_retry_count" => 25 }
string_args = ->(jid) { JSON.generate(strings.merge("jid" => jid)) }
infinite = '{"class":"Payments::Charge","args":[1e400,1],"jid":"infinite","queue":"default","retry":true}'

with_sidekiq(%w[other]) do |sidekiq|
  wait_until("Sidekiq to be registered") { Sidekiq::ProcessSet.new.size.positive? }

  check "the doctor finds no error on a Redis that Sidekiq and Rust wrote to" do
    Payments::Charge.perform_in(3600, 4300, 1)
    rust_client
    lines, healthy = doctor
    assert healthy, lines.join("\n")
    assert_line(/\Anotice: Sidekiq moves jobs out of `schedule` and `retry` as well/, lines)
    assert_line(/\Awarning: 1 job waits in the sets of the other schedule_keys/, lines)
    assert_line(/\Awarning: 1 job of class "Reports::Print" in queues that this node runs, and no worker here has it/, lines)
    assert_line(/\A\d+ findings; 2\d\d jobs read, all that wait\z/, lines)
    [default, Sidekiq::Queue.new("mailers"), scheduled].each(&:clear)
  end

  check "the doctor finds jobs that Sidekiq would destroy" do
    redis do |r|
      r.zadd("retry", Time.now.to_f + 3600, string_args.call("string-1"))
      r.zadd("retry", Time.now.to_f + 3600, infinite)
    end
    lines, healthy = doctor
    assert !healthy, "no error"
    assert_line(/\Aerror: 1 job in the retry set \(such as string-1\) with arguments that are no array/, lines)
    assert_line(/\Aerror: 1 job in the retry set \(such as infinite\) that Ruby cannot read or write again/, lines)
  end

  check "what the doctor says is true: Sidekiq destroys both when it moves them, and keeps its hands off verk:retry" do
    redis do |r|
      r.zadd("verk:retry", soon.call, member("verk:retry", failed))
      r.zadd("retry", soon.call, string_args.call("string-1"))
      r.zadd("retry", soon.call, infinite)
    end
    theirs = Payments::Charge.perform_in(3600, 4400, 1)
    make_due(scheduled, theirs)
    wait_until("Sidekiq to move its own job") { default.find_job(theirs) }
    assert_equal [theirs], default.map(&:jid), "the queue"
    assert_equal [0, 0], [retries.size, dead.size], "retries, dead"
    assert member("verk:retry", failed), "the retry of Rust is gone"
    default.clear
  end

  check "converted by the doctor, a job of Elixir's Verk survives Sidekiq, and Ruby runs it" do
    redis { |r| r.zadd("retry", soon.call + 3600, string_args.call("string-2")) }
    lines, healthy = doctor("convert")
    assert healthy, lines.join("\n")
    assert_equal "converted: 1, merged with an equal job: 0, gone meanwhile: 0", lines.first, "converted"
    make_due(retries, "string-2")
    wait_until("Sidekiq to move it") { default.find_job("string-2") }
  end
end

with_sidekiq(%w[default]) do |ruby|
  check "and Ruby runs it with its arguments" do
    assert_equal [4200, 1], ruby.wait_for("string-2").args, "args"
  end
end

with_rust("default:5", own) do |rust|
  check "schedule_keys = own: the retry that Sidekiq left alone is run by Rust" do
    assert_equal [4000, 3], rust.wait_for(failed).args, "args"
    wait_until_idle
    assert_equal 0, redis { |r| r.zcard("verk:retry") }, "verk:retry"
  end
end
